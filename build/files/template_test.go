// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build/files"
	"github.com/dray-tools/dray/oci"
)

func TestTemplates(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := write(t, filepath.Join(top, "deep"), map[string][]byte{
		"a/app_Linux_x86_64": nil, "a/app_linux_arm64": nil, "a/app_windows_amd64.exe": nil, "a/app_darwin_all": nil, "a/app_linux_amd64.txt": nil, "a/other_linux_amd64": nil,
		"b/app_linux_amd64_v1/app": nil, "b/app_linux_amd64_v3/app": nil, "b/app_linux_arm64_v8.0/app": nil, "b/app_linux_arm_6/app": nil, "b/app_windows_386_sse2/app.exe": nil, "b/app_linux_mips64le_hardfloat/app": nil, "b/app_linux_ppc64le_power8/app": nil, "b/app_linux_riscv64_rva20u64/app": nil,
		"c/linux/arm64/x": nil, "c/linux/amd64/x": nil, "c/windows/amd64/y": nil,
		"d/app-linux-armv7": nil, "d/app-linux-armhf": nil, "d/app-linux-aarch64": nil,
		"e/linux/app-linux-amd64": nil, "e/freebsd/app-linux-amd64": nil, "e/linux/app-windows-amd64": nil,
		"f/amd64v2": nil, "f/amd64": nil, "f/armv6": nil,
	})
	if err := os.MkdirAll(filepath.Join(dir, "er"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "x") // and x/.. is not where x is
	if err := os.Symlink(filepath.Join(dir, "er"), link); err != nil {
		t.Fatal(err)
	}
	for template, want := range map[string]string{
		"a/app_{os}_{arch}":       "a/app_Linux_x86_64 linux/amd64 app;a/app_linux_arm64 linux/arm64 app;a/app_windows_amd64.exe windows/amd64 app",
		"b/app_{os}_{arch}/app":   "b/app_linux_amd64_v1/app linux/amd64 app;b/app_linux_amd64_v3/app linux/amd64/v3 app;b/app_linux_arm64_v8.0/app linux/arm64 app;b/app_linux_arm_6/app linux/arm/v6 app;b/app_linux_mips64le_hardfloat/app linux/mips64le app;b/app_linux_ppc64le_power8/app linux/ppc64le app;b/app_linux_riscv64_rva20u64/app linux/riscv64 app;b/app_windows_386_sse2/app.exe windows/386 app",
		"c/{os}/{arch}/x":         "c/linux/amd64/x linux/amd64 x;c/linux/arm64/x linux/arm64 x",
		"c/{os}/{arch}":           "c/linux/amd64 linux/amd64 ;c/linux/arm64 linux/arm64 ;c/windows/amd64 windows/amd64 ",
		"d/app-{os}-{arch}":       "d/app-linux-aarch64 linux/arm64 app;d/app-linux-armhf linux/arm/v7 app;d/app-linux-armv7 linux/arm/v7 app",
		"e/{os}/app-{os}-{arch}":  "e/linux/app-linux-amd64 linux/amd64 app",
		"f/{arch}{variant}":       "f/amd64 linux/amd64 ;f/amd64v2 linux/amd64/v2 ;f/armv6 linux/arm/v6 ",
		"./a/../a/app_{os}_arm64": "./a/../a/app_linux_arm64 linux/ app", // the program says the rest
		"a/none_{os}_{arch}":      "",
	} {
		all, err := files.Expand(link + "/../" + template)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(strings.Join(all, ";"), link+"/../", "")
		got = strings.ReplaceAll(got, `"linux/"`, "linux/")
		if filepath.ToSlash(got) != want {
			t.Errorf("%s:\n%s\nwant\n%s", template, strings.ReplaceAll(got, ";", "\n"), strings.ReplaceAll(want, ";", "\n"))
		}
	}
	if _, err := files.Expand(filepath.Join(dir, "none") + "/{os}"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestBareName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"app": "app", "app.exe": "app", "app_linux_amd64": "app", "app-1.2-windows-arm64.exe": "app-1.2", "kubectl.linux.armv7": "kubectl", "linux_amd64": "linux_amd64", "app_linux_amd64_v3": "app", "a_linux_tool": "a_linux_tool"} {
		if got := files.BareName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestRunsOn(t *testing.T) {
	t.Parallel()
	for pair, want := range map[string]bool{"linux/amd64 linux/amd64/v3": true, "linux/amd64/v3 linux/amd64": false, "linux/arm/v5 linux/arm/v7": true, "linux/arm/v7 linux/arm/v6": false, "linux/arm64 linux/arm64/v8": true,
		"linux/arm/v7 linux/arm64": false, "linux/arm64 linux/arm64/v9": true, "windows/amd64 windows/amd64:10.0.1": true, "linux/amd64 windows/amd64": false} {
		a, b, _ := strings.Cut(pair, " ")
		pa, err := oci.ParsePlatform(a)
		if err != nil {
			t.Fatal(err)
		}
		pb, err := oci.ParsePlatform(b)
		if err != nil {
			t.Fatal(err)
		}
		if files.RunsOn(pa, pb) != want {
			t.Errorf("%s: want %v", pair, want)
		}
	}
}
