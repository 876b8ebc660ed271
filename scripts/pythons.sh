# Sourced by the other scripts: python_of VERSION prints the first program found that is this version of
# Python, by its name, or one of pyenv's or uv's.
python_of() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python \
        "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/cpython-"$1".*/bin/python; do
        # run, not only found, because a shim of pyenv's may lead nowhere
        if "$candidate" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" \
            2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}
