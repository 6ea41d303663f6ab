// SPDX-License-Identifier: Apache-2.0

package packages

import "encoding/binary"

const (
	sqliteMagic = "SQLite format 3\x00"
	sqliteHead  = 100 // bytes before the first page's own
	sqliteDepth = 20  // levels of a tree; SQLite itself makes no more

	pageInterior = 5
	pageLeaf     = 13
)

// A sqliteFile is read page by page (SQLite, "Database File Format").
type sqliteFile struct {
	data   []byte
	log    map[uint32][]byte // pages that the log has newer
	pages  uint32            // how many there are
	size   int               // of a page
	usable int               // the same without what is reserved at its end
	seen   map[uint32]bool   // pages of trees, each of which is in one place only
	left   budget
}

// sqlite reads the table in which rpm keeps its headers: Packages(hnum, blob).
// wal is the log beside the file, with what is not in it yet, or nil.
func sqlite(data, wal []byte, add found) error {
	f := sqliteFile{data: data, seen: map[uint32]bool{}, left: budget(len(data) + len(wal))}
	if err := f.open(wal); err != nil || f.size == 0 {
		return err
	}
	root := uint32(0)
	err := f.scan(1, 0, func(record []byte) error {
		v, err := columns(record)
		if err != nil || len(v) < 4 {
			return broken("a table has no description")
		}
		if string(v[0].bytes) == "table" && string(v[1].bytes) == "Packages" {
			root = uint32(v[3].number())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return broken("it has no table Packages")
	}
	return f.scan(root, 0, func(record []byte) error {
		v, err := columns(record)
		if err != nil {
			return err
		}
		if len(v) < 2 || v[1].kind < 12 || v[1].kind%2 != 0 {
			return broken("a row has no header")
		}
		return header(v[1].bytes, add)
	})
}

// open reads the head of the file. A size of 0 afterwards means that nothing
// was ever written to it.
func (f *sqliteFile) open(wal []byte) error {
	f.readLog(wal)
	first := f.log[1]
	if first == nil {
		first = f.data
	}
	if len(first) == 0 {
		return nil
	}
	if len(first) < sqliteHead || string(first[:16]) != sqliteMagic {
		return broken("not a SQLite database")
	}
	size := int(binary.BigEndian.Uint16(first[16:]))
	if size == 1 {
		size = 64 << 10
	}
	f.usable = size - int(first[20])
	switch encoding := binary.BigEndian.Uint32(first[56:]); {
	case size < 512 || size&(size-1) != 0 || f.usable < 480:
		return broken("it has pages of %d bytes, of which %d are of use", size, f.usable)
	case f.size != 0 && f.size != size:
		return broken("it has pages of %d bytes and its log such of %d", size, f.size)
	case encoding > 1:
		return broken("its texts are not UTF-8")
	}
	f.size = size
	if f.pages == 0 {
		f.pages = uint32(len(f.data) / size)
	}
	return nil
}

// page is the whole of a page, counted from 1.
func (f *sqliteFile) page(n uint32) ([]byte, error) {
	if p := f.log[n]; p != nil {
		return p, nil
	}
	if end := uint64(n) * uint64(f.size); n == 0 || n > f.pages || end > uint64(len(f.data)) {
		return nil, broken("it leads to page %d and has only %d", n, f.pages)
	}
	return f.data[(int(n)-1)*f.size:][:f.size], nil
}

// scan calls row for every row of the tree below a page, in order.
func (f *sqliteFile) scan(n uint32, depth int, row func([]byte) error) error {
	if f.seen[n] || depth > sqliteDepth {
		return broken("page %d of a tree is in it twice or too deep", n)
	}
	f.seen[n] = true
	p, err := f.page(n)
	if err != nil {
		return err
	}
	p = p[:f.usable]
	head := p
	if n == 1 {
		head = p[sqliteHead:]
	}
	first := 8
	if head[0] == pageInterior {
		first = 12
	}
	count := int(binary.BigEndian.Uint16(head[3:]))
	if head[0] != pageInterior && head[0] != pageLeaf || first+2*count > len(head) {
		return broken("page %d has type %d and %d rows", n, head[0], count)
	}
	for i := range count {
		at := int(binary.BigEndian.Uint16(head[first+2*i:]))
		if at+4 > len(p) {
			return broken("page %d has a row at byte %d", n, at)
		}
		if head[0] == pageInterior {
			err = f.scan(binary.BigEndian.Uint32(p[at:]), depth+1, row)
		} else {
			err = f.cell(p[at:], row)
		}
		if err != nil {
			return err
		}
	}
	if head[0] == pageLeaf {
		return nil
	}
	return f.scan(binary.BigEndian.Uint32(head[8:]), depth+1, row)
}

// cell reads a row of a leaf: its length, its key and its record, which goes
// on on overflow pages if it is too long.
func (f *sqliteFile) cell(b []byte, row func([]byte) error) error {
	size, n := varint(b)
	_, m := varint(b[n:])
	if n == 0 || m == 0 {
		return broken("a row ends too early")
	}
	if err := f.left.take(size); err != nil {
		return err
	}
	b = b[n+m:]
	local := f.local(int(size))
	if local > len(b) || uint64(local) < size && local+4 > len(b) {
		return broken("a row of %d bytes ends too early", size)
	}
	if uint64(local) == size {
		return row(b[:local])
	}
	record := append(make([]byte, 0, size), b[:local]...)
	next := binary.BigEndian.Uint32(b[local:])
	for uint64(len(record)) < size {
		p, err := f.page(next)
		if err != nil {
			return err
		}
		next = binary.BigEndian.Uint32(p)
		rest := p[4:f.usable]
		record = append(record, rest[:min(len(rest), int(size)-len(record))]...)
	}
	return row(record)
}

// local is how many bytes of a record are beside its key ("Cell Payload
// Overflow Pages").
func (f *sqliteFile) local(size int) int {
	most := f.usable - 35
	if size <= most {
		return size
	}
	least := (f.usable-12)*32/255 - 23
	if k := least + (size-least)%(f.usable-4); k <= most {
		return k
	}
	return least
}

// A column is one value of a row, of a kind that the format calls serial type.
type column struct {
	kind  uint64
	bytes []byte
}

// number is a whole number's value; 0 of everything else. What does not fit
// into 32 bits is no page's number.
func (c column) number() uint64 {
	switch {
	case c.kind == 9:
		return 1
	case c.kind == 0 || c.kind > 6:
		return 0
	}
	var n uint64
	for _, b := range c.bytes {
		n = n<<8 | uint64(b)
	}
	if n > 1<<32-1 {
		return 0
	}
	return n
}

// columns cuts a record into its values ("Record Format"). No table of rpm
// has more than a few.
func columns(record []byte) ([]column, error) {
	end, n := varint(record)
	if n == 0 || end < uint64(n) || end > uint64(len(record)) {
		return nil, broken("a row without a head")
	}
	kinds, body := record[n:end], record[end:]
	var all []column
	for len(kinds) > 0 {
		kind, n := varint(kinds)
		if n == 0 || len(all) == 16 {
			return nil, broken("a row with too many values")
		}
		kinds = kinds[n:]
		size := [12]uint64{0, 1, 2, 3, 4, 6, 8, 8}[min(kind, 11)]
		if kind >= 12 {
			size = (kind - 12) / 2
		}
		if size > uint64(len(body)) {
			return nil, broken("a row with a value of %d bytes, where %d are left", size, len(body))
		}
		all = append(all, column{kind, body[:size]})
		body = body[size:]
	}
	return all, nil
}

// varint reads a number of one to nine bytes and says how many; 0 if it is cut
// off.
func varint(b []byte) (v uint64, n int) {
	for i, c := range b[:min(len(b), 9)] {
		if i == 8 {
			return v<<8 | uint64(c), 9
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
