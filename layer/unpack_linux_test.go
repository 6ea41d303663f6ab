// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

const asNobody = "DRAY_TEST_AS_NOBODY"

// The tests of Unpack once more, as a user who may do nothing.
func TestUnpackAsNobody(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 || os.Getenv(asNobody) != "" {
		t.Skip("only root can become somebody else")
	}
	self, err := os.Executable()
	try(t, err)
	where, err := os.MkdirTemp("", "dray-nobody-")
	try(t, err)
	t.Cleanup(func() { os.RemoveAll(where) })
	try(t, os.Chmod(where, 0o777))
	binary := filepath.Join(where, "test")
	in, err := os.Open(self)
	try(t, err)
	defer in.Close()
	out, err := os.OpenFile(binary, os.O_CREATE|os.O_WRONLY, 0o755)
	try(t, err)
	_, err = io.Copy(out, in)
	try(t, err)
	try(t, out.Close())
	try(t, os.Chmod(binary, 0o755))
	cmd := exec.Command(binary, "-test.run=^(TestUnpack|TestBad_05|TestBad_06|TestBad_07|FuzzUnpack)")
	cmd.Dir = where
	cmd.Env = append(os.Environ(), asNobody+"=1", "TMPDIR="+where)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func stat(t *testing.T, parts ...string) *unix.Stat_t {
	t.Helper()
	var s unix.Stat_t
	try(t, unix.Lstat(filepath.Join(parts...), &s))
	return &s
}

func TestBad_066_Devices(t *testing.T) {
	t.Parallel()
	dev := func(name string, flag byte, major, minor int64) rec {
		return rec{Header: tar.Header{Typeflag: flag, Name: name, Devmajor: major, Devminor: minor, Mode: 0o600, ModTime: epoch}}
	}
	c := newCanary(t)
	report, err := c.unpack(t, []rec{dev("null", tar.TypeChar, 1, 3), dev("loop", tar.TypeBlock, 7, 0), dev("fifo", tar.TypeFifo, 0, 0),
		hardlink("again", "null"), dev("huge", tar.TypeChar, 1<<20, 3), dev("minor", tar.TypeChar, 1, 1<<20), file("x", "")})
	try(t, err)
	if report.Devices+report.SkippedDevices != 6 && report.Devices+report.SkippedDevices+report.HardLinks != 6 {
		t.Errorf("%+v", report)
	}
	if os.Geteuid() != 0 {
		if report.Devices != 0 || len(disk(t, c.target)) != 1 || len(report.Notes()) == 0 {
			t.Errorf("%+v", report)
		}
		return
	}
	if report.Devices == 0 {
		t.Skip("a root that may not make devices")
	}
	if s := stat(t, c.target, "again"); s.Mode != unix.S_IFCHR|0o600 || s.Rdev != unix.Mkdev(1, 3) || s.Mtim.Sec != epoch.Unix() {
		t.Errorf("%+v", s)
	}
	if report.SkippedDevices != 2 {
		t.Errorf("%+v", report)
	}
}

func TestBad_067_Owners(t *testing.T) {
	t.Parallel()
	own := func(r rec, mode int64, uid, gid int) rec {
		r.Mode, r.Uid, r.Gid, r.Format = mode, uid, gid, tar.FormatPAX
		return r
	}
	l := []rec{own(file("suid", "x"), 0o6755, 7, 8), own(dir("d"), 0o2777, 7, 8), own(dir("tmp"), 0o1777, 0, 0),
		own(file("far", "x"), 0o4755, 1<<32+5, 1), own(file("negative", "x"), 0o4755, -1, -1), own(symlink("l", "x"), 0o777, 7, 8)}
	c := newCanary(t)
	report, err := c.unpack(t, l)
	try(t, err)
	root := os.Geteuid() == 0
	want := map[string]uint32{"suid": 0o755, "d": 0o777, "tmp": 0o1777, "far": 0o755, "negative": 0o755}
	if root {
		want["suid"], want["d"] = 0o6755, 0o2777
	}
	for name, mode := range want {
		s := stat(t, c.target, name)
		if s.Mode&0o7777 != mode {
			t.Errorf("%s has mode %o, want %o", name, s.Mode&0o7777, mode)
		}
		if name == "far" && s.Uid == 5 {
			t.Error("an owner was cut off")
		}
	}
	if root {
		if s := stat(t, c.target, "suid"); s.Uid != 7 || s.Gid != 8 || report.SkippedOwners != 2 || report.MaskedModes != 2 {
			t.Errorf("%v %v, %+v", s.Uid, s.Gid, report)
		}
		if s := stat(t, c.target, "l"); s.Uid != 7 || s.Mtim.Sec != epoch.Unix() {
			t.Errorf("link: %+v", s)
		}
		c = newCanary(t)
		_, err := layer.Unpack(ctx(t), c.target, blobs(t, l), layer.UnpackOptions{NoOwner: true})
		try(t, err)
		if s := stat(t, c.target, "suid"); s.Uid != 0 || s.Mode&0o7777 != 0o755 {
			t.Errorf("%v %o", s.Uid, s.Mode)
		}
	}
}

// watching calls see whenever somebody asks whether it has ended.
type watching struct {
	context.Context
	see func()
}

func (w watching) Err() error {
	w.see()
	return w.Context.Err()
}

// Until everything is in its place nobody else can enter the tree: a user to
// whom a directory of it belongs could put a link where root will go next.
func TestBad_059_ClosedUntilTheEnd(t *testing.T) {
	t.Parallel()
	open := dir("open")
	open.Mode, open.Uid, open.Gid = 0o777, 65534, 65534
	root := dir(".")
	root.Name, root.Mode = "./", 0o777
	locked := dir("open/locked")
	locked.Mode = 0o500
	c := newCanary(t)
	looks := 0
	w := watching{ctx(t), func() {
		list, err := filepath.Glob(filepath.Join(c.root, ".target.dray-*"))
		if err != nil || len(list) == 0 {
			return
		}
		looks++
		if s := stat(t, list[0]); s.Mode&0o7777 != 0o700 || int(s.Uid) != os.Geteuid() {
			t.Errorf("the new tree has mode %o and belongs to %d", s.Mode&0o7777, s.Uid)
		}
	}}
	_, err := layer.Unpack(w, c.target, blobs(t, []rec{root, open, locked, dir("open/dir"), file("open/dir/x", "x")}), layer.UnpackOptions{})
	try(t, err)
	if looks < 5 {
		t.Errorf("only %d looks", looks)
	}
	for name, mode := range map[string]uint32{".": 0o777, "open": 0o777, "open/locked": 0o500} {
		if s := stat(t, c.target, name); s.Mode&0o7777 != mode {
			t.Errorf("%s has mode %o", name, s.Mode&0o7777)
		}
	}
}

// Files in a directory whose group is inherited are not that group's.
func TestBad_067_GroupOfTheParent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make such a directory")
	}
	suid := file("d/suid", "x")
	suid.Mode = 0o6755
	for _, o := range []layer.UnpackOptions{{}, {NoOwner: true}} {
		c := newCanary(t)
		try(t, os.Chown(c.root, 0, 4242))
		try(t, os.Chmod(c.root, 0o755|os.ModeSetgid))
		_, err := layer.Unpack(ctx(t), c.target, blobs(t, []rec{dir("d"), suid, file("implied/x", "")}), o)
		try(t, err)
		for _, name := range []string{".", "d", "d/suid", "implied", "implied/x"} {
			s := stat(t, c.target, name)
			if want := fmt.Sprint(os.Getegid()); fmt.Sprint(s.Gid) != want || s.Mode&unix.S_IFDIR != 0 && s.Mode&0o6000 != 0 {
				t.Errorf("%+v: %s belongs to the group %d with mode %o", o, name, s.Gid, s.Mode)
			}
		}
	}
}

func TestBad_068_Xattrs(t *testing.T) {
	t.Parallel()
	x := file("x", "")
	x.PAXRecords = map[string]string{"SCHILY.xattr.user.good": "a\x00b", "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "z",
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "SCHILY.xattr.user.huge": strings.Repeat("x", 70<<10)}
	l := symlink("l", "x")
	l.PAXRecords = map[string]string{"SCHILY.xattr.user.on.a.link": "1"}
	c := newCanary(t)
	report, err := c.unpack(t, []rec{x, l})
	try(t, err)
	b := make([]byte, 200)
	n, err := unix.Getxattr(filepath.Join(c.target, "x"), "user.good", b)
	if err == unix.ENOTSUP {
		t.Skip("no attributes on this file system")
	}
	if err != nil || string(b[:n]) != "a\x00b" {
		t.Errorf("user.good: %q %v", b[:max(n, 0)], err)
	}
	for _, name := range []string{"trusted.overlay.opaque", "user.huge"} {
		if _, err := unix.Getxattr(filepath.Join(c.target, "x"), name, b); err == nil {
			t.Errorf("%s was set", name)
		}
	}
	if _, err := unix.Getxattr(filepath.Join(c.target, "x"), "security.capability", b); (err == nil) != (os.Geteuid() == 0) {
		t.Errorf("security.capability: %v", err)
	}
	if notes := report.Notes(); len(notes) == 0 || report.SkippedXattrs < 4 {
		t.Errorf("%+v %v", report, notes)
	}
}

// A full disk is an error that leaves nothing behind.
func TestUnpackFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("cannot mount:", err)
	}
	defer unix.Unmount(dir, 0)
	b := oci.Bytes(oci.MediaLayer, tarOf(t, file("d/x", strings.Repeat("x", 1<<20))))
	_, err := layer.Unpack(ctx(t), filepath.Join(dir, "target"), []oci.Blob{b}, layer.UnpackOptions{})
	wantKind(t, "full disk", err, unix.ENOSPC)
	wantEmpty(t, dir)
	_, err = layer.Unpack(ctx(t), dir, blobs(t, []rec{file("x", "")}), layer.UnpackOptions{})
	wantKind(t, "mount point", err, oci.ErrUnsupported)
	wantEmpty(t, dir)
}

// Where the file system takes two names for one, the second is refused, and
// does not replace what the first one stands for.
func TestBad_065_FoldedNames(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount such a file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,casefold"); err != nil {
		t.Skip("cannot mount:", err)
	}
	defer unix.Unmount(dir, 0)
	f, err := os.Open(dir)
	try(t, err)
	const foldCase = 0x40000000 // FS_CASEFOLD_FL
	err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, foldCase)
	f.Close()
	if err != nil {
		t.Skip("cannot fold case:", err)
	}
	for name, l := range map[string][]rec{
		"files":         {file("Name", "1"), file("name", "2")},
		"directories":   {file("Name/x", "1"), file("name/y", "2")},
		"link and dir":  {symlink("Name", ".."), file("name/y", "2")},
		"link and file": {symlink("Name", "../x"), file("name", "2")},
	} {
		_, err := layer.Unpack(ctx(t), filepath.Join(dir, "target"), blobs(t, l), layer.UnpackOptions{})
		wantKind(t, name, err, oci.ErrInvalid)
		wantEmpty(t, dir)
	}
}
