// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/dray-tools/dray/oci"
)

// UnpackOptions are the options of Unpack.
type UnpackOptions struct {
	// NoOwner lets everything belong to the caller, also where the caller is root
	// and could give it to others.
	NoOwner bool
	// MaxBytes is what all files may have together; 0: 64 GiB.
	MaxBytes int64
	Limits   Limits
}

// Unpack writes the file system that layers make, the lowest first, to a
// directory, which must not be there yet or be empty: ErrExists. It is built
// beside it and renamed when it is complete, so that a failure leaves nothing;
// what a killed process leaves is called .NAME.dray-*.
//
// Nothing outside of the directory is touched, whatever the layers say: first
// all directories are made, as real ones and open to the caller alone, then
// what is in them, each under a name that must not be there, and links are
// never followed. Owners are kept where the process is root, the set-user-ID
// and set-group-ID bits only where owners are; see Report for what is not.
func Unpack(ctx context.Context, dir string, layers []oci.Blob, o UnpackOptions) (*Report, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 30
	}
	parent, name, err := target(dir)
	if err != nil {
		return nil, oci.Wrap("", dir, err)
	}
	defer parent.Close()
	o.Limits.Bytes = min(o.Limits.defaults().Bytes, o.MaxBytes+o.MaxBytes/8+64<<20) // with headers
	t, err := Merge(ctx, layers, o.Limits)
	if err != nil {
		return nil, err
	}
	c := t.contents()
	if c.bytes > o.MaxBytes {
		return nil, oci.Errorf(oci.ErrInvalid, "files of %d bytes, more than the %d that are allowed", c.bytes, o.MaxBytes)
	}
	u := &unpacker{c: c, o: o, uid: os.Geteuid(), gid: os.Getegid()}
	if err := u.run(ctx, parent, name, layers); err != nil {
		return nil, oci.Wrap("", dir, err)
	}
	return &u.report, nil
}

// target opens the directory in which the new one will be, once: whatever
// happens to its path later does not lead elsewhere.
func target(dir string) (*os.Root, string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, "", err
	}
	name := filepath.Base(abs)
	if filepath.Dir(abs) == abs {
		return nil, "", oci.Errorf(oci.ErrInvalid, "the root of a file system cannot be replaced")
	}
	parent, err := os.OpenRoot(filepath.Dir(abs))
	if err != nil {
		return nil, "", err
	}
	if err := vacant(parent, name); err != nil {
		parent.Close()
		return nil, "", err
	}
	return parent, name, nil
}

func vacant(parent *os.Root, name string) error {
	fi, err := parent.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode()&fs.ModeSymlink != 0:
		return oci.Errorf(oci.ErrInvalid, "is a link")
	case !fi.IsDir():
		return oci.Errorf(oci.ErrExists, "exists and is not a directory")
	}
	f, err := parent.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if list, _ := f.Readdirnames(1); len(list) > 0 {
		return oci.Errorf(oci.ErrExists, "exists and is not empty")
	}
	return nil
}

type unpacker struct {
	c        *contents
	o        UnpackOptions
	uid, gid int
	inherits bool     // what is made belongs to the directory's group, and not to the caller's
	root     *os.Root // of the new tree
	last     *folder
	buf      []byte
	report   Report
}

// run makes the tree under another name and renames it.
func (u *unpacker) run(ctx context.Context, parent *os.Root, name string, layers []oci.Blob) (err error) {
	staging := "." + name[:min(len(name), 200)] + ".dray-" + rand.Text()[:8]
	if err := parent.Mkdir(staging, 0o700); err != nil {
		return err
	}
	if u.root, err = openNew(parent, staging); err == nil {
		u.buf = make([]byte, 256<<10)
		if err = u.claim(); err == nil {
			err = u.write(ctx, layers)
		}
		u.leave()
		u.root.Close()
	}
	if err == nil {
		err = publish(parent, staging, name)
	}
	if err != nil {
		u.unlock(parent, staging)
		return errors.Join(err, parent.RemoveAll(staging))
	}
	return nil
}

// claim takes the new root for the caller's group: one that a set-group-ID
// parent gave it would go on to all that is made below.
func (u *unpacker) claim() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	at, err := u.enter(".")
	if err != nil {
		return err
	}
	u.inherits = at.f.Chown(-1, u.gid) != nil || runtime.GOOS != "linux"
	return at.f.Chmod(0o700)
}

// openNew opens a directory that was made just now, and nothing else that
// somebody may have put in its place.
func openNew(parent *os.Root, name string) (*os.Root, error) {
	r, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := r.Stat(".")
	named, err2 := parent.Lstat(name)
	if err = errors.Join(err, err2); err == nil && !os.SameFile(opened, named) {
		err = oci.Errorf(oci.ErrInvalid, "%s was replaced while it was being made", name)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func publish(parent *os.Root, staging, name string) error {
	if err := vacant(parent, name); err != nil {
		return err
	}
	err := rename(parent, staging, name)
	switch {
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		return oci.Errorf(oci.ErrUnsupported, "is where a file system is mounted: name a directory in it")
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.ENOTDIR):
		return oci.Errorf(oci.ErrExists, "came into being meanwhile")
	}
	return err
}

// write makes everything that is in the tree.
func (u *unpacker) write(ctx context.Context, layers []oci.Blob) error {
	for _, d := range u.c.dirs {
		if err := u.makeDir(d); err != nil {
			return u.explain(d, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	err := u.c.read(ctx, layers, u.o.Limits, func(g group) error { return u.explain(g.names[0], u.makeFile(g)) })
	if err != nil {
		return err
	}
	return u.finish(ctx)
}

func (u *unpacker) makeDir(d place) error {
	if err := hostName(d.base); err != nil {
		return err
	}
	at, err := u.enter(d.in.path())
	if err != nil {
		return err
	}
	u.report.Directories++
	return at.Mkdir(d.base, 0o700)
}

// finish gives directories their metadata, when nothing in them will change
// any more. A mode that would keep the caller out comes late, from the bottom.
// The root is last of all: until then nobody else can enter, so that a user to
// whom a directory belongs already cannot put a link where root will go next.
func (u *unpacker) finish(ctx context.Context) error {
	var locked []place
	for _, d := range u.c.dirs {
		if d.n.layer < d.hidden {
			d.n = implied(d.hidden)
		}
		at, err := u.enter(d.path())
		if err == nil {
			err = u.dirMetadata(at, d.n)
		}
		if err == nil && d.n.mode&0o700 == 0o700 {
			err = at.f.Chmod(u.mode(at.kept, d.n))
		} else if err == nil {
			d.kept = at.kept
			locked = append(locked, d)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return u.explain(d, err)
		}
	}
	for _, d := range slices.Backward(locked) {
		at, err := u.enter(d.path())
		if err == nil {
			err = at.f.Chmod(u.mode(d.kept, d.n))
		}
		if err != nil {
			return u.explain(d, err)
		}
	}
	at, err := u.enter(".")
	if err == nil {
		err = u.dirMetadata(at, u.c.root)
	}
	if err == nil {
		err = at.f.Chmod(u.mode(at.kept, u.c.root))
	}
	return u.explain(place{base: ".", n: u.c.root}, err)
}

// unlock lets RemoveAll into directories whose modes are there already.
func (u *unpacker) unlock(parent *os.Root, staging string) {
	if u.uid == 0 || parent.Chmod(staging, 0o700) != nil {
		return
	}
	root, err := parent.OpenRoot(staging)
	if err != nil {
		return
	}
	defer root.Close()
	for _, d := range u.c.dirs {
		if d.n.mode&0o700 != 0o700 {
			_ = root.Chmod(d.path(), 0o700) // a directory, or not there: nothing else was made under that name
		}
	}
}

// explain says which file it was and why the host cannot hold it.
func (u *unpacker) explain(p place, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		err = oci.Errorf(oci.ErrInvalid, "this file system takes it for the same name as another one")
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EILSEQ):
		err = oci.Errorf(oci.ErrInvalid, "this file system cannot hold such a name")
	default:
		if e, ok := errors.AsType[*fs.PathError](err); ok { // its path is that in the staging directory
			err = e.Err
		}
	}
	return oci.Wrap("", oci.Quote(p.path()), err)
}
