// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"archive/zip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/dray-tools/dray/oci"
)

// What an archive may have at most.
const (
	maxDirectory = 48 << 20 // bytes of its list of entries
	maxEntries   = 500_000
	maxUnpacked  = 16 << 30
	maxText      = 8 << 20 // of a manifest, an index
	maxClass     = 16 << 20
	maxInside    = 64 << 20 // of a packed archive in an archive, which has to be in memory to be read
)

// An archive is a file of the format zip. Its files can be read between acquire
// and release.
type archive struct {
	path    string // "": it is in another one
	r       io.ReaderAt
	size    int64
	entries []*zip.File // files with checked names, each name once
	names   map[string]*zip.File
	manifest

	mu   sync.Mutex
	uses int
	f    *os.File
	info fs.FileInfo // as it was first
}

// openArchive reads the list of what is in a file, and its manifest.
func openArchive(path string) (*archive, error) {
	a := &archive{path: path}
	if err := a.acquire(); err != nil {
		return nil, err
	}
	defer a.release()
	a.size = a.info.Size()
	a.r = a
	return a, a.list()
}

// archiveIn is one that is in another.
func archiveIn(r io.ReaderAt, size int64) (*archive, error) {
	a := &archive{r: r, size: size}
	return a, a.list()
}

// acquire opens the file, which must be as it was when it was first opened.
func (a *archive) acquire() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.uses == 0 && a.path != "" {
		f, err := os.Open(a.path)
		if err != nil {
			return err
		}
		now, err := f.Stat()
		switch {
		case err == nil && !now.Mode().IsRegular():
			err = oci.Errorf(oci.ErrInvalid, "it is no file")
		case err == nil && a.info != nil && (now.Size() != a.info.Size() || !now.ModTime().Equal(a.info.ModTime())):
			err = oci.Errorf(oci.ErrBusy, "%s was changed while it was read", a.path)
		}
		if err != nil {
			f.Close()
			return err
		}
		a.f, a.info = f, now
	}
	a.uses++
	return nil
}

func (a *archive) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.uses--; a.uses == 0 && a.f != nil {
		a.f.Close()
		a.f = nil
	}
}

// ReadAt implements io.ReaderAt for what is acquired.
func (a *archive) ReadAt(p []byte, at int64) (int, error) { return a.f.ReadAt(p, at) }

// A thrifty reader gives out so many bytes while its archive's list is read, and
// then as many as are wanted.
type thrifty struct {
	io.ReaderAt
	left int64
	done bool
}

func (t *thrifty) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, zip.ErrFormat
	}
	if !t.done {
		if t.left -= int64(len(p)); t.left < 0 {
			return 0, oci.Errorf(oci.ErrInvalid, "its list of entries has more than %d MB", maxDirectory>>20)
		}
	}
	return t.ReaderAt.ReadAt(p, at)
}

// list reads what is in the archive.
func (a *archive) list() error {
	t := &thrifty{ReaderAt: a.r, left: maxDirectory}
	z, err := zip.NewReader(t, a.size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // which is checked below
		return broken(err)
	}
	t.done = true
	if len(z.File) > maxEntries {
		return oci.Errorf(oci.ErrInvalid, "it has %d entries, more than %d", len(z.File), maxEntries)
	}
	a.names = make(map[string]*zip.File, len(z.File))
	total := uint64(0)
	for _, f := range z.File {
		if err := checkName(f.Name); err != nil {
			return err
		}
		if f.Flags&1 != 0 {
			return oci.Errorf(oci.ErrUnsupported, "%s is encrypted", oci.Quote(f.Name))
		}
		if f.UncompressedSize64 > maxUnpacked || total+f.UncompressedSize64 > maxUnpacked {
			return oci.Errorf(oci.ErrInvalid, "it unpacks to more than %d GB", maxUnpacked>>30)
		}
		total += f.UncompressedSize64
		if !strings.HasSuffix(f.Name, "/") {
			a.names[f.Name] = f // the last of a name counts, as for Java
		}
	}
	for _, f := range z.File {
		if a.names[f.Name] == f {
			a.entries = append(a.entries, f)
		}
	}
	text, err := a.text(manifestName)
	if err == nil {
		a.manifest, err = parseManifest(text)
	}
	return err
}

// broken is an error of reading an archive: of its bytes, unless the file system
// has one.
func broken(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok || err == nil || errors.Is(err, oci.ErrInvalid) {
		return err
	}
	return oci.Errorf(oci.ErrInvalid, "a broken archive: %w", err)
}

// A reading is the content of an entry, with errors that say what they are about.
type reading struct{ io.Reader }

func (r reading) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = broken(err)
	}
	return n, err
}

// checkName refuses the names that leave the directory which they are put in, or
// mean another file on another system.
func checkName(name string) error {
	clean := strings.TrimSuffix(name, "/")
	ok := clean != "" && utf8.ValidString(name) && !strings.ContainsAny(name, "\\\x00") && !strings.HasPrefix(name, "/") &&
		path.Clean(clean) == clean && clean != ".." && clean != "." && !strings.HasPrefix(clean, "../")
	if !ok {
		return oci.Errorf(oci.ErrInvalid, "entry %s has a name that no file below a directory can have", oci.Quote(name))
	}
	return nil
}

// has reports whether there is anything below a directory.
func (a *archive) has(dir string) bool {
	for _, f := range a.entries {
		if strings.HasPrefix(f.Name, dir) {
			return true
		}
	}
	return false
}

// text is the content of a small file, nil if it is not there.
func (a *archive) text(name string) ([]byte, error) {
	f := a.names[name]
	if f == nil {
		return nil, nil
	}
	return readAll(f, maxText)
}

// readAll reads a whole entry, which may be so large.
func readAll(f *zip.File, most uint64) ([]byte, error) {
	if f.UncompressedSize64 > most {
		return nil, oci.Errorf(oci.ErrInvalid, "%s has %d bytes, more than %d", oci.Quote(f.Name), f.UncompressedSize64, most)
	}
	rc, err := f.Open()
	if err != nil {
		return nil, oci.Wrap("", oci.Quote(f.Name), broken(err))
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, int64(most)+1))
	if err == nil && uint64(len(b)) != f.UncompressedSize64 {
		err = io.ErrUnexpectedEOF
	}
	return b, oci.Wrap("", oci.Quote(f.Name), broken(err))
}

// inside opens an entry that is an archive itself.
func (a *archive) inside(f *zip.File) (*archive, error) {
	if at, err := f.DataOffset(); err == nil && f.Method == zip.Store {
		return archiveIn(io.NewSectionReader(a.r, at, int64(f.UncompressedSize64)), int64(f.UncompressedSize64))
	}
	b, err := readAll(f, maxInside)
	if err != nil {
		return nil, err
	}
	return archiveIn(strings.NewReader(string(b)), int64(len(b)))
}
