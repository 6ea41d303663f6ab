// SPDX-License-Identifier: Apache-2.0

package packages_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/dray-tools/dray/internal/packages"
	"github.com/dray-tools/dray/oci"
)

// rpmHeader is a header as rpm's databases have it. Entries of it follow one
// another: tag, type, text.
func rpmHeader(entries ...any) []byte {
	var index, data []byte
	for i := 0; i < len(entries); i += 3 {
		for _, n := range []int{entries[i].(int), entries[i+1].(int), len(data), 1} {
			index = binary.BigEndian.AppendUint32(index, uint32(n))
		}
		data = append(data, entries[i+2].(string)...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(entries)/3))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return slices.Concat(b, index, data)
}

var cart = rpmHeader(1000, 6, "cart\x00", 1001, 6, "1\x00", 1002, 6, "2\x00")

// ndbFile has every one of its 254 slots lead to the first headers in turn.
func ndbFile(slots int, headers ...[]byte) []byte {
	le := binary.LittleEndian
	b := append([]byte("RpmP"), make([]byte, 28)...)
	b[12] = 1
	var blocks []byte
	var at, count []uint32
	for _, h := range headers {
		at = append(at, uint32(4096+len(blocks))/16)
		blocks = append(blocks, "BlbS\x01\x00\x00\x00\x00\x00\x00\x00"...)
		blocks = append(le.AppendUint32(blocks, uint32(len(h))), h...)
		blocks = append(blocks, make([]byte, 12+(32-(len(h)+12)%16)%16)...)
		count = append(count, uint32(4096+len(blocks))/16-at[len(at)-1])
	}
	for i := range 254 {
		b = append(b, "Slot\x01\x00\x00\x00"...)
		if i >= slots {
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
			continue
		}
		b = le.AppendUint32(le.AppendUint32(b, at[i%len(at)]), count[i%len(at)])
	}
	return append(b, blocks...)
}

// sqlitePage is a page of 512 bytes; after what is before the first byte of its
// own it has a type, the rightmost child, pointers, and cells at its end.
func sqlitePage(before []byte, kind byte, right uint32, pointers []int, cells []byte) []byte {
	p := make([]byte, 512)
	head := p[copy(p, before):]
	head[0] = kind
	binary.BigEndian.PutUint16(head[3:], uint16(len(pointers)))
	at := 8
	if kind == 5 {
		binary.BigEndian.PutUint32(head[8:], right)
		at = 12
	}
	for i, n := range pointers {
		binary.BigEndian.PutUint16(head[at+2*i:], uint16(n))
	}
	copy(p[512-len(cells):], cells)
	return p
}

// sqliteDB is a database whose table Packages begins on its second page.
func sqliteDB(pages ...[]byte) []byte {
	head := make([]byte, 100)
	copy(head, "SQLite format 3\x00\x02\x00")
	row := "\x06\x17\x1d\x1d\x01\x0dtablePackagesPackages\x02"
	cell := append([]byte{byte(len(row)), 1}, row...)
	return slices.Concat(append([][]byte{sqlitePage(head, 13, 0, []int{512 - len(cell)}, cell)}, pages...)...)
}

// packagesRow is a row of the table: its length, its key, and a record of
// nothing and a header.
func packagesRow(header []byte) []byte {
	kind := 12 + 2*len(header)
	return append([]byte{byte((4+len(header))>>7&0x7f | 0x80), byte((4 + len(header)) & 0x7f), 1, 4, 0, byte(kind>>7 | 0x80), byte(kind & 0x7f)}, header...)
}

func leaf(times int, header []byte) []byte {
	row := packagesRow(header)
	return sqlitePage(nil, 13, 0, slices.Repeat([]int{512 - len(row)}, times), row)
}

// deep is a chain of pages, each with the next one as its only child.
func deep(levels int) [][]byte {
	var all [][]byte
	for i := range levels {
		all = append(all, sqlitePage(nil, 5, uint32(i+3), nil, nil))
	}
	return append(all, leaf(1, cart))
}

// Databases made by hand: the good ones show that the bad ones are bad for the
// reason that they are meant to be.
func TestHandmade(t *testing.T) {
	t.Parallel()
	overflow := sqlitePage(nil, 13, 0, []int{500}, []byte{0x87, 0x68, 1, 5, 0, 0x8f, 0x50, 0, 0, 0, 0, 0}) // 1000 bytes
	for name, tt := range map[string]struct {
		data []byte
		want string // part of the error
	}{
		"ndb":                  {ndbFile(1, cart), ""},
		"ndb, twice the same":  {ndbFile(254, slices.Concat(cart, make([]byte, 4000))), "more than the whole"},
		"ndb, empty header":    {ndbFile(1, nil), "header of 0 bytes"},
		"sqlite":               {sqliteDB(leaf(1, cart)), ""},
		"sqlite, same rows":    {sqliteDB(leaf(100, slices.Concat(cart, make([]byte, 100)))), "more than the whole"},
		"sqlite, deep":         {sqliteDB(deep(20)...), ""},
		"sqlite, too deep":     {sqliteDB(deep(21)...), "too deep"},
		"sqlite, own child":    {sqliteDB(sqlitePage(nil, 5, 2, nil, nil)), "twice"},
		"sqlite, first child":  {sqliteDB(sqlitePage(nil, 5, 1, nil, nil)), "twice"},
		"sqlite, same child":   {sqliteDB(sqlitePage(nil, 5, 3, []int{504, 504}, []byte{0, 0, 0, 3, 1, 0, 0, 0}), leaf(1, cart)), "twice"},
		"sqlite, no page":      {sqliteDB(), "page 2"},
		"sqlite, page 0":       {sqliteDB(sqlitePage(nil, 5, 0, nil, nil)), "page 0"},
		"sqlite, index":        {sqliteDB(sqlitePage(nil, 10, 0, nil, nil)), "type 10"},
		"sqlite, many rows":    {sqliteDB(append([]byte{13, 0, 0, 255, 255}, make([]byte, 507)...)), "65535 rows"},
		"sqlite, row too far":  {sqliteDB(sqlitePage(nil, 13, 0, []int{509}, nil)), "row at byte 509"},
		"sqlite, overflow":     {sqliteDB(overflow, leaf(1, cart)), "too early"},
		"sqlite, no overflow":  {sqliteDB(sqlitePage(nil, 13, 0, []int{500 - 34}, slices.Concat([]byte{0x87, 0x68, 1, 5, 0, 0x8f, 0x50}, make([]byte, 38), []byte{99})), leaf(1, cart)), "page 99"},
		"sqlite, empty row":    {sqliteDB(sqlitePage(nil, 13, 0, []int{500}, nil)), "without a head"},
		"header, no name":      {ndbFile(1, rpmHeader(1001, 6, "1\x00", 1002, 6, "2\x00")), "missing"},
		"header, no release":   {ndbFile(1, rpmHeader(1000, 6, "a\x00", 1001, 6, "1\x00")), "no release"},
		"header, name twice":   {ndbFile(1, rpmHeader(1000, 6, "a\x00", 1000, 6, "b\x00")), "twice"},
		"header, name's type":  {ndbFile(1, rpmHeader(1000, 4, "aaaa")), "form of its own"},
		"header, endless name": {ndbFile(1, rpmHeader(1000, 6, "aaaa")), "form of its own"},
		"header, short epoch":  {ndbFile(1, rpmHeader(1003, 4, "aaa")), "form of its own"},
		"header, many entries": {ndbFile(1, append([]byte{255, 255, 255, 255, 255, 255, 255, 255}, cart...)), "entries"},
		"header, two lines":    {ndbFile(1, rpmHeader(1000, 6, "a\nb\x00", 1001, 6, "1\x00", 1002, 6, "2\x00")), "not words"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(map[string][]byte{"var/lib/rpm/Packages": tt.data})
			if tt.want != "" {
				if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), tt.want) || len(got) != 0 {
					t.Errorf("got %v, %v\nwant error with %s", got, err, tt.want)
				}
				return
			}
			if err != nil || show(got) != "rpm cart 1-2 " {
				t.Errorf("got %s, %v", show(got), err)
			}
		})
	}
}

// The overflow pages of a Berkeley DB that lead to themselves, or promise more
// than there is.
func TestBDBChains(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	for name, change := range map[string]func(page []byte){
		"own next":   func(p []byte) { copy(p[16:20], p[8:12]) },
		"no next":    func(p []byte) { le.PutUint32(p[16:], 0) },
		"far next":   func(p []byte) { le.PutUint32(p[16:], 1<<31) },
		"empty page": func(p []byte) { le.PutUint16(p[22:], 0) },
		"long page":  func(p []byte) { le.PutUint16(p[22:], 1<<15) },
		"other type": func(p []byte) { p[25] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := fixture(t, "bdb")
			for p := data[4096:]; len(p) > 0; p = p[4096:] {
				if p[25] == 7 { // overflow
					change(p)
				}
			}
			if got, err := read(map[string][]byte{"var/lib/rpm/Packages": data}); name != "own next" && (!errors.Is(err, oci.ErrInvalid) || len(got) != 0) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// What is cut off or changed anywhere is an error or nothing that matters.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "small", "ndb", "bdb", "bdb-big"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := fixture(t, name)
			whole, _ := read(map[string][]byte{"var/lib/rpm/Packages": good})
			random := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				n := random.IntN(len(good))
				got, err := read(map[string][]byte{"var/lib/rpm/Packages": good[:n]})
				if !errors.Is(err, oci.ErrInvalid) && !slices.Equal(got, whole) && n > 0 {
					t.Fatalf("cut after %d bytes: %v, %v", n, got, err)
				}
				data := bytes.Clone(good)
				for range 1 + random.IntN(20) {
					data[random.IntN(min(len(data), 1<<(4+random.IntN(20))))] = byte(random.Uint32())
				}
				check(t, map[string][]byte{"var/lib/rpm/Packages": data})
			}
		})
	}
}

// check reads hostile files and looks at what must hold of every result.
func check(t *testing.T, files map[string][]byte) []packages.Package {
	t.Helper()
	all, err := read(files)
	if err != nil && !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("error of another kind: %v", err)
	}
	if err != nil && len(files) == 1 && len(all) != 0 {
		t.Errorf("%d packages from a broken database", len(all))
	}
	for _, p := range all {
		for _, s := range []string{p.Name, p.Version, p.Arch} {
			if len(s) > 256 || strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || unicode.IsSpace(c) }) {
				t.Errorf("not printable: %q", s)
			}
		}
		if p.Name == "" || p.Version == "" {
			t.Errorf("without a name or version: %v", p)
		}
	}
	return all
}

func FuzzDpkg(f *testing.F) {
	for _, s := range []string{dpkgText, oneText, "", "Package", "Package: a\n b\n\nPackage: a\r\nVERSION:1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all := check(t, map[string][]byte{"var/lib/dpkg/status": b})
		if more := check(t, map[string][]byte{"var/lib/dpkg/status.d/a": b}); len(more) > 0 && len(more) < len(all) {
			t.Errorf("%d packages from status and %d from status.d", len(all), len(more))
		}
	})
}

func FuzzApk(f *testing.F) {
	for _, s := range []string{apkText, "", "P", "P:a\nV:1\n", "P:a\nP:b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, map[string][]byte{"lib/apk/db/installed": b}) })
}

func FuzzRPM(f *testing.F) {
	_, wal := logged(f)
	f.Add([]byte{}, wal)
	for _, b := range [][]byte{ // small ones, which the fuzzer goes through faster
		fixture(f, "bdb"), fixture(f, "bdb-big"),
		ndbFile(2, cart), sqliteDB(leaf(1, cart)), sqliteDB(deep(3)...),
		sqliteDB(sqlitePage(nil, 5, 3, []int{504}, []byte{0, 0, 0, 4, 1, 0, 0, 0}), leaf(2, cart), leaf(1, cart)),
	} {
		f.Add(b, []byte{})
	}
	f.Fuzz(func(t *testing.T, data, wal []byte) {
		files := map[string][]byte{"var/lib/rpm/rpmdb.sqlite": data}
		if len(wal) > 0 {
			files["var/lib/rpm/rpmdb.sqlite-wal"] = wal
		}
		check(t, files)
	})
}
