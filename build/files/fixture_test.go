// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/files"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A sample says what a made-up program says of itself.
type sample struct {
	machine     elf.Machine
	small       bool // 32 bits
	big         bool // big-endian
	abi         byte
	kind        elf.Type // 0: ET_EXEC
	flags       uint32
	interpreter string
	needed      []string
	pie         bool
	isa         uint32            // levels of amd64 that are needed
	sections    map[string][]byte // by name; .ARM.attributes gets its type
	extra       string            // at the end
}

// bytes is the program: headers, and what they lead to.
func (s sample) bytes() []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	if s.big {
		order = binary.BigEndian
	}
	word := func(b []byte, v uint64) []byte {
		if s.small {
			return order.AppendUint32(b, uint32(v))
		}
		return order.AppendUint64(b, v)
	}
	const start = 4096
	body := []byte{}
	type piece struct{ kind, at, size uint64 }
	var progs []piece
	put := func(kind elf.ProgType, b []byte) uint64 {
		at := uint64(start + len(body))
		progs = append(progs, piece{uint64(kind), at, uint64(len(b))})
		body = append(body, b...)
		return at
	}
	if s.interpreter != "" {
		put(elf.PT_INTERP, append([]byte(s.interpreter), 0))
	}
	if len(s.needed) > 0 || s.pie {
		names := []byte{0}
		var dynamic []byte
		for _, n := range s.needed {
			dynamic = word(word(dynamic, uint64(elf.DT_NEEDED)), uint64(len(names)))
			names = append(append(names, n...), 0)
		}
		at := put(elf.PT_LOAD, names)
		dynamic = word(word(dynamic, uint64(elf.DT_STRTAB)), at) // loaded where it is in the file
		dynamic = word(word(dynamic, uint64(elf.DT_STRSZ)), uint64(len(names)))
		if s.pie {
			dynamic = word(word(dynamic, uint64(elf.DT_FLAGS_1)), uint64(elf.DF_1_PIE))
		}
		put(elf.PT_DYNAMIC, word(word(dynamic, 0), 0))
	}
	if s.isa != 0 {
		note := order.AppendUint32(order.AppendUint32(order.AppendUint32(nil, 4), 32), 5)
		note = append(note, "GNU\x00"...)
		note = order.AppendUint64(order.AppendUint32(order.AppendUint32(note, 0xc0000002), 4), 3)
		note = order.AppendUint64(order.AppendUint32(order.AppendUint32(note, 0xc0008002), 4), uint64(s.isa))
		put(elf.PT_GNU_PROPERTY, note)
	}
	table, count := s.table(order, word, start+uint64(len(body)))
	kind := s.kind
	if kind == 0 {
		kind = elf.ET_EXEC
	}
	class, data, head, entry, section := byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 64, 56, 64
	if s.small {
		class, head, entry, section = byte(elf.ELFCLASS32), 52, 32, 40
	}
	if s.big {
		data = byte(elf.ELFDATA2MSB)
	}
	b := append([]byte("\x7fELF"), class, data, 1, s.abi)
	b = append(b, make([]byte, 8)...)
	u2 := func(list ...int) {
		for _, v := range list {
			b = order.AppendUint16(b, uint16(v))
		}
	}
	u2(int(kind), int(s.machine))
	b = word(order.AppendUint32(b, 1), 0) // version, entry
	b = word(b, uint64(head))
	tableAt := uint64(0)
	if count > 0 {
		tableAt = start + uint64(len(body)+len(table)-count*section)
	}
	b = order.AppendUint32(word(b, tableAt), s.flags)
	u2(head, entry, len(progs), section, count, max(0, count-1))
	for _, p := range progs {
		b = order.AppendUint32(b, uint32(p.kind))
		if s.small {
			b = word(word(word(word(word(b, p.at), p.at), p.at), p.size), p.size)
			b = word(word(b, 4), 1)
			continue
		}
		b = order.AppendUint32(b, 4)
		b = word(word(word(word(word(word(b, p.at), p.at), p.at), p.size), p.size), 1)
	}
	b = append(b, make([]byte, start-len(b))...)
	return append(append(append(b, body...), table...), s.extra...)
}

// table is the contents of the sections, their names, and the headers, which are
// at the end: that of the names is the last.
func (s sample) table(order binary.AppendByteOrder, word func([]byte, uint64) []byte, at uint64) (b []byte, count int) {
	if len(s.sections) == 0 {
		return nil, 0
	}
	var headers []byte
	names := []byte{0}
	add := func(name string, kind elf.SectionType, content []byte) {
		h := order.AppendUint32(order.AppendUint32(nil, uint32(len(names))), uint32(kind))
		h = word(word(word(word(h, 0), 0), at+uint64(len(b))), uint64(len(content)))
		h = order.AppendUint32(order.AppendUint32(h, 0), 0)
		headers = append(headers, word(word(h, 1), 0)...)
		names = append(append(names, name...), 0)
		b = append(b, content...)
		count++
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for k := range s.sections {
			if !yield(k) {
				return
			}
		}
	}) {
		kind := elf.SHT_PROGBITS
		if name == ".ARM.attributes" {
			kind = 0x70000003
		}
		add(name, kind, s.sections[name])
	}
	add(".shstrtab", elf.SHT_STRTAB, append(names, ".shstrtab\x00"...))
	return append(b, headers...), count
}

// exe is a program of Windows.
func exe(machine, flags, subsystem uint16, managed bool) []byte {
	b := make([]byte, 512)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], 64)
	copy(b[64:], "PE\x00\x00")
	le.PutUint16(b[68:], machine)
	le.PutUint16(b[84:], 240)
	le.PutUint16(b[86:], flags)
	le.PutUint16(b[88:], 0x20b)
	le.PutUint16(b[88+68:], subsystem)
	if managed {
		le.PutUint32(b[88+112+8*14:], 4096)
	}
	return b
}

// write makes files below a directory; of those whose names begin with ! anybody
// may execute.
func write(t testing.TB, dir string, list map[string][]byte) string {
	t.Helper()
	for name, b := range list {
		mode := os.FileMode(0o644)
		if name, ok := strings.CutPrefix(name, "!"); ok {
			mode = 0o755
			put(t, filepath.Join(dir, filepath.FromSlash(name)), b, mode)
			continue
		}
		put(t, filepath.Join(dir, filepath.FromSlash(name)), b, mode)
	}
	return dir
}

func put(t testing.TB, path string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// A result is what was built, as tests look at it.
type result struct {
	images []string // PLATFORM ENTRYPOINT
	files  []string // MODE OWNER TIME PATH of the first image
	digest oci.Digest
	notes  []string
	stack  *build.Stack
}

// made builds files on a base; bases are by name.
func made(t testing.TB, places []files.Place, o files.Options, want build.Want, bases map[string]build.Opened) (*result, error) {
	t.Helper()
	m := input.New(input.Options{CacheDir: t.TempDir(), TempDir: t.TempDir()})
	t.Cleanup(func() { _ = m.Close() })
	e := build.NewEngine(build.Options{Maker: m, Outlines: &layer.Outlines{}, Static: func(context.Context, *build.Stack) error { return nil },
		Open: func(_ context.Context, name string) (build.Opened, error) {
			b, ok := bases[name]
			if !ok {
				return b, oci.Errorf(oci.ErrNotFound, "no base is here")
			}
			return b, nil
		}})
	r, err := build.Run(t.Context(), e, files.New(places, o), want, build.RunOptions{})
	if err != nil {
		return nil, err
	}
	out := &result{notes: e.Notes(), stack: r.Stacks[0]}
	sealed, err := edit.Seal(r.Node)
	if err != nil {
		t.Fatal(err)
	}
	out.digest = sealed.Root.Digest
	for n, s := range r.Stacks {
		c, err := s.Config()
		if err != nil {
			t.Fatal(err)
		}
		entrypoint, _ := json.Marshal(c.Config.Entrypoint)
		out.images = append(out.images, oci.FormatPlatform(r.Targets[n].Platform)+" "+string(entrypoint))
	}
	outlines, err := r.Stacks[0].Outlines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outlines {
		for x, err := range o.Changes() {
			if err != nil {
				t.Fatal(err)
			}
			out.files = append(out.files, strings.TrimSpace(line(x)))
		}
	}
	return out, nil
}

func must(t testing.TB, places []files.Place, o files.Options, want build.Want) *result {
	t.Helper()
	r, err := made(t, places, o, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// on is a wish for bases and platforms.
func on(t testing.TB, from string, platforms ...string) (w build.Want) {
	t.Helper()
	if from != "" {
		w.From = []string{from}
	}
	for _, s := range platforms {
		p, err := oci.ParsePlatform(s)
		if err != nil {
			t.Fatal(err)
		}
		w.Platforms = append(w.Platforms, p)
	}
	return w
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func wantError(t *testing.T, err, kind error, words string) {
	t.Helper()
	if err == nil || !errors.Is(err, kind) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want %v with %q", err, kind, words)
	}
}

// base is an index of images, each with files: links are PATH -> TARGET.
func base(t testing.TB, list map[string][]string) build.Opened {
	t.Helper()
	x, err := edit.NewIndex(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, platform := range slices.Sorted(func(yield func(string) bool) {
		for k := range list {
			if !yield(k) {
				return
			}
		}
	}) {
		p := on(t, "", platform).Platforms[0]
		i, err := edit.New(p, false)
		if err != nil {
			t.Fatal(err)
		}
		if list[platform] != nil {
			b, id := tarOf(t, list[platform])
			if err := i.Apply(edit.Append(edit.Layer{Descriptor: b.Descriptor(), DiffID: id, Blob: b}, edit.History{CreatedBy: "base"})); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.Apply(edit.SetCmd("old")); err != nil {
			t.Fatal(err)
		}
		if err := x.Add(i, oci.Descriptor{Platform: &p}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := edit.Seal(x)
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.Get(t.Context(), s, string(s.Root.Digest))
	if err != nil {
		t.Fatal(err)
	}
	return build.Opened{Source: s, Manifest: m}
}
