// SPDX-License-Identifier: Apache-2.0

//go:build unix

package layer_test

import (
	"archive/tar"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dray-tools/dray/layer"
)

func TestCreateKinds(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "kinds") // short, for the socket's sake
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(t, err)
	defer l.Close()
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "su"), []byte("x"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "su"), 0o755|os.ModeSetuid|os.ModeSetgid))
	must(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky))
	must(t, os.WriteFile(filepath.Join(dir, "bytes-\xff"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, strings.Repeat("long", 60)), nil, 0o644))
	_, heads, c := created(t, dir, plain)
	if c.Sockets != 1 || c.Entries != 5 || heads["pipe"].Typeflag != tar.TypeFifo {
		t.Errorf("%+v, %+v", c, heads)
	}
	if heads["su"].Mode != 0o755 || heads["tmp/"].Mode != 0o1777 {
		t.Errorf("modes %o and %o", heads["su"].Mode, heads["tmp/"].Mode)
	}
	if heads["bytes-\xff"] == nil || heads[strings.Repeat("long", 60)] == nil {
		t.Errorf("names are not as they were: %v", c)
	}
	keep := plain
	keep.KeepOwner = true
	_, heads, _ = created(t, dir, keep)
	if h := heads["su"]; h.Mode != 0o6755 || h.Uid != os.Getuid() {
		t.Errorf("kept: mode %o of %d", h.Mode, h.Uid)
	}
}

func TestCreateStaysInside(t *testing.T) {
	t.Parallel()
	outside := tree(t, map[string]string{"secret": "secret", "sub/deep": "deep"})
	dir := tree(t, map[string]string{"file": "->" + outside + "/secret", "dir": "->" + outside + "/sub", "up": "->..", "a": "b"})
	names, heads, _ := created(t, dir, layer.CreateOptions{Packing: layer.Packing{Compression: layer.None}})
	if len(names) != 4 || heads["dir"].Typeflag != tar.TypeSymlink || heads["file"].Typeflag != tar.TypeSymlink {
		t.Errorf("entries %q", names)
	}
}
