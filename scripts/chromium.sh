# Sourced by scripts/test, which calls install_chromium once the package is installed. The tests of
# `verify --delegate gpu` need a Vulkan driver, and Chromium carries one that needs no GPU; the tests of
# `vit-convert web` run the page in Chromium itself, driven by its chromedriver.
gpu_driver_found() {
    [ -n "${VK_ICD_FILENAMES:-}" ] || .venv/bin/python -c "if True:
        from vit_convert.parity.gpu.process import software_drivers
        raise SystemExit(not software_drivers())"
}

chromium_found() {
    command -v chromium > /dev/null && command -v chromedriver > /dev/null && gpu_driver_found
}

install_chromium() {
    chromium_found && return
    if command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing chromium, for the browser's tests and its SwiftShader driver" >&2
        apt-get -qq update &&
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
                chromium chromium-driver > /dev/null && chromium_found && return
    fi
    cat >&2 <<'MESSAGE'
error: the tests need chromium, chromedriver and the SwiftShader driver; they could not be installed
  expected: Debian's packages chromium and chromium-driver, and the vk_swiftshader_icd.json in them
  try: as root, apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver
  or, for the driver alone: export VK_ICD_FILENAMES=/path/to/vk_swiftshader_icd.json
MESSAGE
    return 1
}
