# Sourced by the other scripts: .venv, and an installer for it. VIT_CONVERT_PYTHON chooses the Python.
if [ ! -x .venv/bin/python ]; then
    "${VIT_CONVERT_PYTHON:-python3}" -m venv .venv
fi

pip_install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
}

# install_locked NAME: the packages of requirements/NAME.txt, which have the hashes stated there
install_locked() {
    pip_install --require-hashes --no-deps --requirement "requirements/$1.txt"
}

# This package, with nothing that is not installed already
install_self() {
    pip_install --no-deps --no-build-isolation "$@"
}
