# Sourced by scripts/test, which calls install_gpu_driver once the package is installed: the tests of
# `verify --delegate gpu` need a Vulkan driver, and Chromium carries one that needs no GPU.
gpu_driver_found() {
    [ -n "${VK_ICD_FILENAMES:-}" ] || .venv/bin/python -c "if True:
        from vit_convert.parity.gpu_process import software_drivers
        raise SystemExit(not software_drivers())"
}

install_gpu_driver() {
    gpu_driver_found && return
    if command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing chromium, for its SwiftShader driver" >&2
        apt-get -qq update &&
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium \
                > /dev/null && gpu_driver_found && return
    fi
    cat >&2 <<'MESSAGE'
error: the tests of the GPU delegate need the SwiftShader driver, and it could not be installed
  expected: vk_swiftshader_icd.json of Debian's chromium package, or of Google Chrome
  try: as root, apt-get update && apt-get install -y --no-install-recommends chromium
  or: export VK_ICD_FILENAMES=/path/to/vk_swiftshader_icd.json
MESSAGE
    return 1
}
