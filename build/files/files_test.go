// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/files"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

var (
	amd64 = sample{machine: elf.EM_X86_64}.bytes()
	arm64 = sample{machine: elf.EM_AARCH64}.bytes()
	armv6 = sample{machine: elf.EM_ARM, small: true, sections: map[string][]byte{".ARM.attributes": attributes(6)}}.bytes()
	armv7 = sample{machine: elf.EM_ARM, small: true, flags: 0x400}.bytes()
	win   = exe(0x8664, 0x22, 3, false)
	glibc = sample{machine: elf.EM_X86_64, interpreter: "/lib64/ld-linux-x86-64.so.2", needed: []string{"libc.so.6", "libzip.so.9"}}.bytes()
	musl  = sample{machine: elf.EM_X86_64, interpreter: "/lib/ld-musl-x86_64.so.1", needed: []string{"libc.so", "libc.musl-x86_64.so.1"}}.bytes()
	macho = []byte("\xcf\xfa\xed\xfe\x07\x00\x00\x01")
)

// What is put where, and what is started.
func TestPlaces(t *testing.T) {
	t.Parallel()
	dir := write(t, t.TempDir(), map[string][]byte{"!app": amd64, "app-linux-amd64": amd64, "!app.exe": win, "pub/index.html": nil, "!pub/run.sh": nil, "!dist/bin/tool": amd64, "dist/lib/libx.so": amd64, "!two/a": amd64, "!two/b": amd64})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		places []files.Place
		want   build.Want
		images string
		files  []string
	}{
		{[]files.Place{{From: at("app")}}, on(t, ""), `linux/amd64 ["/app/app"]`, []string{"755 0:0 0 app/", "755 0:0 0 app/app"}},
		{[]files.Place{{From: at("app-linux-amd64")}}, on(t, ""), `linux/amd64 ["/app/app"]`, []string{"755 0:0 0 app/", "755 0:0 0 app/app"}},
		{[]files.Place{{From: at("app"), To: "/usr/bin/"}}, on(t, ""), `linux/amd64 ["/usr/bin/app"]`, []string{"755 0:0 0 usr/", "755 0:0 0 usr/bin/", "755 0:0 0 usr/bin/app"}},
		{[]files.Place{{From: at("pub")}}, on(t, "", "linux/riscv64"), `linux/riscv64 null`, []string{"644 0:0 0 index.html", "755 0:0 0 run.sh"}},
		{[]files.Place{{From: at("pub"), To: "srv"}, {From: at("app"), To: "/x"}}, on(t, ""), `linux/amd64 ["/x"]`, []string{"755 0:0 0 srv/", "644 0:0 0 srv/index.html", "755 0:0 0 srv/run.sh", "755 0:0 0 x"}},
		{[]files.Place{{From: at("dist"), To: "/opt"}}, on(t, ""), `linux/amd64 ["/opt/bin/tool"]`, []string{"755 0:0 0 opt/", "755 0:0 0 opt/bin/", "755 0:0 0 opt/bin/tool", "755 0:0 0 opt/lib/", "644 0:0 0 opt/lib/libx.so"}},
		{[]files.Place{{From: at("two"), To: "/opt"}, {From: at("app"), To: "/x"}}, on(t, ""), `linux/amd64 ["/x"]`, nil},
		{[]files.Place{{From: at("two"), To: "/opt"}}, on(t, ""), `linux/amd64 null`, nil},
		{[]files.Place{{From: at("two/a"), To: "/x"}, {From: at("app"), To: "/x"}}, on(t, ""), `linux/amd64 ["/x"]`, nil},
		{[]files.Place{{From: at("app.exe")}}, on(t, build.Scratch), `windows/amd64 ["C:\\app\\app.exe"]`, nil},
		{[]files.Place{{From: at("app.exe"), To: `C:\tools\`}}, on(t, build.Scratch), `windows/amd64 ["C:\\tools\\app.exe"]`, nil},
		{[]files.Place{{From: at("app"), To: "/x", Rules: layer.CreateOptions{Owner: &layer.Owner{UID: 5, GID: 6}}}}, on(t, ""), `linux/amd64 ["/x"]`, []string{"755 5:6 0 x"}},
	} {
		r := must(t, c.places, files.Options{}, c.want)
		wantLines(t, c.places[0].From, r.images, c.images)
		if c.files != nil {
			wantLines(t, c.places[0].From, r.files, c.files...)
		}
	}
	r := must(t, []files.Place{{From: at("two"), To: "/opt"}}, files.Options{}, on(t, ""))
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "2 programs: say --entrypoint") {
		t.Errorf("notes: %q", r.notes)
	}
	if r = must(t, []files.Place{{From: at("two"), To: "/opt"}}, files.Options{Started: true}, on(t, "")); len(r.notes) != 0 {
		t.Errorf("notes: %q", r.notes)
	}
}

func TestSeveralPlatforms(t *testing.T) {
	t.Parallel()
	dir := write(t, t.TempDir(), map[string][]byte{"d/app_linux_amd64_v1/app": amd64, "d/app_linux_arm64_v8.0/app": arm64, "d/app_linux_arm_6/app": armv6, "d/app_linux_arm_7/app": armv7,
		"d/app_windows_amd64_v1/app.exe": win, "d/app_darwin_arm64/app": macho, "d/app_freebsd_amd64_v1/none": nil, "conf": nil, "a64": arm64, "x64": amd64, "p/amd64/x": nil, "p/arm64/x": nil})
	at := func(name string) string { return filepath.Join(dir, name) }
	template := files.Place{From: at("d/app_{os}_{arch}/app")}
	r := must(t, []files.Place{{From: at("conf"), To: "/etc/conf"}, template}, files.Options{}, on(t, build.Scratch))
	wantLines(t, "template", r.images, `linux/amd64 ["/app/app"]`, `linux/arm64 ["/app/app"]`, `linux/arm/v6 ["/app/app"]`, `linux/arm/v7 ["/app/app"]`, `windows/amd64 ["C:\\app\\app.exe"]`)
	if len(r.notes) < 1 || !strings.Contains(strings.Join(r.notes, "\n"), "no images for darwin") {
		t.Errorf("notes: %q", r.notes)
	}
	template.To = "/bin/x"
	r = must(t, []files.Place{template}, files.Options{}, on(t, build.Scratch, "linux/arm/v8", "windows/amd64:10.0.1"))
	wantLines(t, "chosen", r.images, `linux/arm/v8 ["/bin/x"]`, `windows/amd64:10.0.1 ["C:\\bin\\x.exe"]`)
	r = must(t, []files.Place{{From: at("x64"), To: "/bin/x"}, {From: at("a64"), To: "/bin/x"}}, files.Options{}, on(t, ""))
	wantLines(t, "two files for one place", r.images, `linux/amd64 ["/bin/x"]`, `linux/arm64 ["/bin/x"]`)
	r = must(t, []files.Place{{From: at("p/{arch}"), To: "/opt"}}, files.Options{}, on(t, ""))
	wantLines(t, "directories without programs", r.images, `linux/amd64 null`, `linux/arm64 null`)
	_, err := made(t, []files.Place{{From: at("x64"), To: "/bin/x"}, {From: at("a64"), To: "/bin/y"}}, files.Options{}, on(t, ""), nil)
	wantError(t, err, oci.ErrInvalid, "is for linux/arm64, not for linux/amd64")
	_, err = made(t, []files.Place{template}, files.Options{}, on(t, build.Scratch, "linux/s390x"), nil)
	wantError(t, err, oci.ErrInvalid, "for linux/s390x there is nothing that becomes /bin/x, only for linux/amd64")
	_, err = made(t, []files.Place{template}, files.Options{}, on(t, ""), nil)
	wantError(t, err, oci.ErrInvalid, "nanoserver:ltsc2022, or leave it out with --platform linux/amd64,linux/arm64,linux/arm/v6,linux/arm/v7")
}

// A program runs where there is a later variant of its machine, and of the bases
// only those of Linux are taken if no program chooses.
func TestBases(t *testing.T) {
	t.Parallel()
	dir := write(t, t.TempDir(), map[string][]byte{"app": armv6, "conf": nil, "!v3": sample{machine: elf.EM_X86_64, isa: 7}.bytes()})
	bases := map[string]build.Opened{"b": base(t, map[string][]string{"linux/amd64": nil, "linux/arm/v7": nil, "windows/amd64:10.0.1": nil}), "w": base(t, map[string][]string{"windows/amd64:10.0.1": nil, "windows/amd64:10.0.2": nil}),
		"dir": base(t, map[string][]string{"linux/arm/v7": {"opt/", "opt/bin/", "usr/", "usr/bin/", "bin -> usr/bin"}})}
	for _, c := range []struct{ file, to, from, want string }{
		{"app", "", "b", `linux/arm/v7 ["/app/app"]`}, {"conf", "/etc/x", "b", `linux/amd64 null;linux/arm/v7 null`}, {"conf", "/x", "w", `windows/amd64:10.0.1 null;windows/amd64:10.0.2 null`},
		{"app", "/usr/bin", "dir", `linux/arm/v7 ["/usr/bin/app"]`}, {"app", "/bin", "dir", `linux/arm/v7 ["/bin/app"]`}, {"app", "/bin/x", "dir", `linux/arm/v7 ["/bin/x"]`},
		{"v3", "", "b", `linux/amd64 ["/app/v3"]`},
	} {
		r, err := made(t, []files.Place{{From: filepath.Join(dir, c.file), To: c.to}}, files.Options{}, on(t, c.from), bases)
		if err != nil {
			t.Error(err)
			continue
		}
		wantLines(t, c.file+" on "+c.from, r.images, strings.Split(c.want, ";")...)
		if conf, _ := r.stack.Config(); c.file == "app" && len(conf.Config.Cmd) != 0 {
			t.Error("the base's arguments stay")
		}
		if c.file == "v3" && (len(r.notes) != 1 || !strings.Contains(r.notes[0], "needs linux/amd64/v3")) {
			t.Errorf("notes: %q", r.notes)
		}
	}
	_, err := made(t, []files.Place{{From: filepath.Join(dir, "app")}}, files.Options{}, on(t, "w"), bases)
	wantError(t, err, oci.ErrNotFound, "no image for linux/arm/v6")
}

// What loads a program has to be in the base, or to come with it.
func TestNeeds(t *testing.T) {
	t.Parallel()
	dir := write(t, t.TempDir(), map[string][]byte{"!app": glibc, "!musl": musl, "!all/app": glibc, "all/lib/ld.so": nil, "all/lib/libc.so.6": nil, "all/libzip.so.9": nil})
	if err := os.Symlink("lib", filepath.Join(dir, "all", "lib64")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("ld.so", filepath.Join(dir, "all", "lib", "ld-linux-x86-64.so.2")); err != nil {
		t.Fatal(err)
	}
	bases := map[string]build.Opened{
		"debian": base(t, map[string][]string{"linux/amd64": {"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2 -> /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib -> usr/lib", "lib64 -> usr/lib64"}}),
		"alpine": base(t, map[string][]string{"linux/amd64": {"lib/ld-musl-x86_64.so.1"}}),
	}
	for _, c := range []struct{ file, from, note, err string }{
		{"app", "", "", "needs \"/lib64/ld-linux-x86-64.so.2\" to start, which scratch+certs lacks: link it statically, or name a base with glibc"},
		{"app", "alpine", "", "which alpine lacks (it has musl, and the program is made for glibc)"},
		{"app", "debian", "\"libzip.so.9\", which is nowhere", ""},
		{"musl", "debian", "", "(it has glibc, and the program is made for musl): link it statically, or name a base with musl, as --from alpine:3"},
		{"musl", "alpine", "", ""},
		{"all", "", "", ""},
	} {
		r, err := made(t, []files.Place{{From: filepath.Join(dir, c.file)}}, files.Options{}, on(t, c.from), bases)
		if c.err != "" {
			wantError(t, err, oci.ErrInvalid, c.err)
			continue
		}
		if err != nil {
			t.Errorf("%s on %s: %v", c.file, c.from, err)
			continue
		}
		if notes := strings.Join(r.notes, "\n"); !strings.Contains(notes, c.note) || c.note == "" && strings.Contains(notes, "nowhere") {
			t.Errorf("%s on %s: notes %q", c.file, c.from, r.notes)
		}
	}
}

// What dotnet publish writes: the program that starts all, a tool beside it, and
// parts for other platforms that say nothing about the image.
func TestPublish(t *testing.T) {
	t.Parallel()
	managed := exe(0x14c, 0x22, 3, true)
	dir := write(t, t.TempDir(), map[string][]byte{"!alone/app": amd64, "!alone/createdump": amd64, "alone/app.dll": managed, "alone/libclr.so": amd64, "alone/runtimes/win-x64/native/x.exe": win,
		"shared/app.dll": managed, "shared/runtimes/win-x64/native/x.exe": win, "shared/runtimes/osx/native/libx.dylib": macho, "windows/app.exe": win, "windows/app.dll": managed})
	place := func(name string) []files.Place {
		return []files.Place{{From: filepath.Join(dir, name), To: "/app"}}
	}
	r := must(t, place("alone"), files.Options{}, on(t, ""))
	wantLines(t, "with the runtime", r.images, "linux/amd64 null")
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "say --entrypoint") {
		t.Errorf("notes: %q", r.notes)
	}
	wantLines(t, "without", must(t, place("shared"), files.Options{}, on(t, "", "linux/arm64", "linux/amd64")).images, "linux/arm64 null", "linux/amd64 null")
	wantLines(t, "for Windows", must(t, place("windows"), files.Options{}, on(t, build.Scratch)).images, `windows/amd64 ["C:\\app\\app.exe"]`)
}

func TestBad_089_Places(t *testing.T) {
	t.Parallel()
	dir := write(t, t.TempDir(), map[string][]byte{"text": nil, "!mac": macho, "!app": amd64, "!broken": amd64[:30], "!mixed/a": amd64, "!mixed/b": arm64, "t/x_linux_arm64": amd64, "only_linux": nil})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		place files.Place
		want  build.Want
		kind  error
		words string
	}{
		{files.Place{From: at("text")}, on(t, build.Scratch, "linux/amd64"), oci.ErrInvalid, "text: say where it goes"},
		{files.Place{From: at("text"), To: "/x"}, on(t, ""), oci.ErrInvalid, "no program says for which platform"},
		{files.Place{From: at("text"), To: "/x"}, on(t, build.Scratch), oci.ErrInvalid, "has no platform"},
		{files.Place{From: at("mac")}, on(t, ""), oci.ErrUnsupported, "mac: a program for macOS"},
		{files.Place{From: at("broken")}, on(t, ""), oci.ErrInvalid, "broken: a broken program"},
		{files.Place{From: at("app")}, on(t, "", "linux/arm64"), oci.ErrInvalid, "app is for linux/amd64, not for linux/arm64"},
		{files.Place{From: at("mixed")}, on(t, ""), oci.ErrInvalid, `"a" is for linux/amd64, and "b" for linux/arm64`},
		{files.Place{From: at("t/x_{os}_{arch}")}, on(t, ""), oci.ErrInvalid, "is for linux/amd64, and its name says linux/arm64"},
		{files.Place{From: at("t/x_{os}_{arhc}")}, on(t, ""), oci.ErrNotFound, "{arhc} is no word of a template"},
		{files.Place{From: os.DevNull, To: "/x"}, on(t, "", "linux/amd64"), oci.ErrInvalid, os.DevNull + " is neither a file nor a directory"},
		{files.Place{From: at("t/y_{os}_{arch}")}, on(t, ""), oci.ErrNotFound, "no file or directory of that name for any platform"},
		{files.Place{From: at("only_{os}"), To: "/x"}, on(t, ""), oci.ErrInvalid, "{arch} is missing"},
		{files.Place{From: at("app"), To: "/{os}/x"}, on(t, ""), oci.ErrInvalid, "in a source"},
		{files.Place{From: at("none")}, on(t, ""), os.ErrNotExist, "none"},
		{files.Place{From: at("app"), To: "../x"}, on(t, ""), oci.ErrInvalid, "../x"},
	} {
		_, err := made(t, []files.Place{c.place}, files.Options{}, c.want, nil)
		wantError(t, err, c.kind, c.words)
	}
	r := must(t, []files.Place{{From: at("mixed")}, {From: at("mac"), To: "/mac"}}, files.Options{Plain: true}, on(t, "", "linux/arm64"))
	wantLines(t, "taken as they are", r.images, "linux/arm64 null")
}

// The digest depends on content, names, links and on whether somebody may execute
// a file, and on nothing else, unless the rules say so.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	for n, dir := range []string{first, second} {
		write(t, dir, map[string][]byte{"a/text": []byte("x"), "!a/run": []byte("y")})
		if err := os.Symlink("text", filepath.Join(dir, "a", "link")); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		for path, mode := range map[string]os.FileMode{"a/text": 0o660, "a/run": 0o700, "a": 0o700} {
			if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
				t.Fatal(err)
			}
		}
		old := time.Unix(1e9, 0)
		if err := os.Chtimes(filepath.Join(dir, "a", "text"), old, old); err != nil {
			t.Fatal(err)
		}
	}
	made := func(dir string, change func(*files.Place)) *result {
		p := files.Place{From: dir, To: "/srv"}
		change(&p)
		return must(t, []files.Place{p}, files.Options{}, on(t, "", "linux/amd64"))
	}
	none := func(*files.Place) {}
	one := made(filepath.Join(first, "a"), none)
	wantLines(t, "files", one.files, "755 0:0 0 srv/", "777 0:0 0 srv/link -> text", "755 0:0 0 srv/run", "644 0:0 0 srv/text")
	if two := made(filepath.Join(second, "a"), none); two.digest != one.digest {
		t.Errorf("other modes and times give %q", two.files)
	}
	for name, c := range map[string]struct {
		change func(*files.Place)
		want   []string
	}{
		"keep modes": {func(p *files.Place) { p.KeepModes = true }, []string{"700 0:0 0 srv/", "777 0:0 0 srv/link -> text", "700 0:0 0 srv/run", "660 0:0 0 srv/text"}},
		"octal":      {func(p *files.Place) { p.Rules.Mode, _ = layer.ParseMode("0640") }, []string{"640 0:0 0 srv/", "777 0:0 0 srv/link -> text", "640 0:0 0 srv/run", "640 0:0 0 srv/text"}},
		"symbolic":   {func(p *files.Place) { p.Rules.Mode, _ = layer.ParseMode("go=") }, []string{"700 0:0 0 srv/", "777 0:0 0 srv/link -> text", "700 0:0 0 srv/run", "600 0:0 0 srv/text"}},
	} {
		wantLines(t, name, made(filepath.Join(second, "a"), c.change).files, c.want...)
	}
	kept := made(filepath.Join(second, "a"), func(p *files.Place) { p.Rules.KeepTime = true })
	if !strings.HasSuffix(kept.files[3], " 1000000000 srv/text") {
		t.Errorf("kept times: %q", kept.files)
	}
	text := filepath.Join(first, "a", "text")
	info, err := os.Stat(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte("z"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(text, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if made(filepath.Join(first, "a"), none).digest == one.digest {
		t.Error("a change that kept the time is not noticed")
	}
}

// A program that nobody may execute, as artifacts of CI come, can be started.
func TestIdle(t *testing.T) {
	t.Parallel()
	dir := write(t, t.TempDir(), map[string][]byte{"app": amd64, "d/app": amd64})
	r := must(t, []files.Place{{From: filepath.Join(dir, "app"), To: "/app"}}, files.Options{}, on(t, ""))
	wantLines(t, "file", r.files, "755 0:0 0 app")
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "it is made executable") {
		t.Errorf("notes: %q", r.notes)
	}
	r = must(t, []files.Place{{From: filepath.Join(dir, "d"), To: "/d"}}, files.Options{}, on(t, "", "linux/amd64"))
	wantLines(t, "directory", r.images, "linux/amd64 null")
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "app in ") {
		t.Errorf("notes: %q", r.notes)
	}
}

// Tools bring programs of Windows along, which say nothing about an image of Linux.
func TestStrangers(t *testing.T) {
	t.Parallel()
	dir := write(t, t.TempDir(), map[string][]byte{"!bin/app": amd64, "!lib/site/cli-32.exe": exe(0x14c, 0x22, 3, false), "!lib/site/cli-64.exe": win, "!top.exe": win, "!mac.node": macho, "!bad": amd64[:20], "!libc.so.6": glibc})
	r := must(t, []files.Place{{From: dir, To: "/opt"}}, files.Options{}, on(t, ""))
	wantLines(t, "images", r.images, `linux/amd64 ["/opt/bin/app"]`)
	if err := os.Remove(filepath.Join(dir, "bin", "app")); err != nil {
		t.Fatal(err)
	}
	r = must(t, []files.Place{{From: dir, To: "/opt"}}, files.Options{}, on(t, build.Scratch))
	wantLines(t, "images", r.images, `windows/amd64 ["C:\\opt\\top.exe"]`)
}

// A file counts where it gets to: in a directory, if it is put into one. What loads
// a program is not itself what is started.
func TestPlacedNeeds(t *testing.T) {
	t.Parallel()
	const loader = "ld-linux-x86-64.so.2"
	dir := write(t, t.TempDir(), map[string][]byte{"!app": glibc, "!" + loader: amd64, "libzip.so.9": nil, "libc.so.6": sample{machine: elf.EM_X86_64, interpreter: "/lib64/" + loader}.bytes(), "etc/conf": nil})
	bases := map[string]build.Opened{"debian": base(t, map[string][]string{"linux/amd64": {"usr/", "usr/lib/", "usr/lib/libc.so.6", "usr/lib64/" + loader, "lib -> usr/lib", "lib64 -> usr/lib64"}})}
	for _, c := range []struct{ from, places, err string }{
		{"debian", "app libzip.so.9:/usr/lib/", ""},
		{"debian", "libzip.so.9:/lib/ app", ""},
		{"debian", "app libzip.so.9:/usr/lib", ""},
		{"debian", "app libzip.so.9:/usr/local/lib/x86_64-linux-gnu/", ""},
		{"scratch", "app " + loader + ":/lib64/ libc.so.6:/lib/ libzip.so.9:/lib/", ""},
		{"scratch", loader + ":/lib64/" + loader + " libc.so.6:/lib/ libzip.so.9:/lib/ app", ""},
		{"scratch", "etc:/lib64 app " + loader + ":/lib64 libc.so.6:/lib/ libzip.so.9:/lib/", ""},
		{"scratch", "app " + loader + ":/opt/ libc.so.6:/lib/ libzip.so.9:/lib/", "to start, which scratch lacks"},
		{"debian", "app libzip.so.9:/opt/", ""},
	} {
		var places []files.Place
		for _, s := range strings.Fields(c.places) {
			from, to, _ := strings.Cut(s, ":")
			places = append(places, files.Place{From: filepath.Join(dir, from), To: to})
		}
		r, err := made(t, places, files.Options{}, on(t, c.from), bases)
		if c.err != "" {
			wantError(t, err, oci.ErrInvalid, c.err)
			continue
		}
		if err != nil {
			t.Errorf("%s on %s: %v", c.places, c.from, err)
			continue
		}
		if notes := strings.Join(r.notes, "\n"); strings.Contains(notes, "nowhere") || strings.Contains(notes, "--entrypoint") {
			t.Errorf("%s on %s: notes %q", c.places, c.from, r.notes)
		}
		wantLines(t, c.places, r.images, `linux/amd64 ["/app/app"]`)
	}
}

// What a program of Go says of its modules is told as if it had been built here; a
// program that says nonsense is one like others.
func TestGoComponents(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("-", 16) + "path\texample.com/m/cmd/app\nmod\texample.com/m\tv1.0.0\t\ndep\texample.com/d\tv0.2.0\th1:x=\n" + strings.Repeat("-", 16)
	info := "\xff Go buildinf:\x08\x02" + strings.Repeat("\x00", 16) + "\x08go1.26.3" + string(binary.AppendUvarint(nil, uint64(len(text)))) + text
	elfs := func(b string) []byte {
		return sample{machine: elf.EM_X86_64, sections: map[string][]byte{".go.buildinfo": []byte(b)}}.bytes()
	}
	pe := append(win[:len(win):len(win)], []byte(info)...)
	copy(pe[88+240:], ".data")
	binary.LittleEndian.PutUint16(pe[64+6:], 1)
	binary.LittleEndian.PutUint32(pe[88+240+16:], uint32(len(info)))
	binary.LittleEndian.PutUint32(pe[88+240+20:], uint32(len(win)))
	dir := write(t, t.TempDir(), map[string][]byte{"!app": elfs(info), "!app.exe": pe, "!cut": elfs(info[:len(info)-1]), "!long": elfs(info[:len(info)-len(text)-2] + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")})
	all := []string{"stdlib pkg:golang/stdlib@1.26.3 ", "example.com/d pkg:golang/example.com/d@v0.2.0 "}
	for name, want := range map[string][]string{
		"app":     append([]string{"example.com/m/cmd/app pkg:golang/example.com/m@v1.0.0#cmd/app /app/app"}, all...),
		"app.exe": append([]string{"example.com/m/cmd/app pkg:golang/example.com/m@v1.0.0#cmd/app /app/app.exe"}, all...),
		"cut":     {"/app/cut  /app/cut"},
		"long":    {"/app/long  /app/long"},
	} {
		r := must(t, []files.Place{{From: filepath.Join(dir, name)}}, files.Options{}, on(t, build.Scratch))
		var got []string
		for _, c := range r.stack.Components {
			got = append(got, c.Name+" "+c.PURL+" "+c.Path)
		}
		wantLines(t, name, got, want...)
	}
}

func TestComponents(t *testing.T) {
	t.Parallel()
	rust := sample{machine: elf.EM_X86_64, sections: map[string][]byte{".dep-v0": packed(crates)}}.bytes()
	dir := write(t, t.TempDir(), map[string][]byte{"!app": rust, "pub/x": []byte("x")})
	r := must(t, []files.Place{{From: filepath.Join(dir, "app")}, {From: filepath.Join(dir, "pub"), To: "/srv"}}, files.Options{}, on(t, ""))
	var got []string
	for _, c := range r.stack.Components {
		got = append(got, c.Kind+" "+c.Path+" "+c.PURL+" "+c.Hashes["sha256"]+" "+strings.Join(c.Needs, " "))
	}
	wantLines(t, "components", got, "application /app/app  "+oci.FromBytes(rust).Encoded()+" pkg:cargo/serde@1.0.2", "file /srv/x  "+oci.FromBytes([]byte("x")).Encoded()+" ", "library  pkg:cargo/serde@1.0.2  ")
}
