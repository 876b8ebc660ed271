# Sourced by the other scripts: .venv, and an installer for it. VIT_CONVERT_PYTHON chooses the Python.
if [ ! -x .venv/bin/python ]; then
    "${VIT_CONVERT_PYTHON:-python3}" -m venv .venv
fi

pip_install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
}
