// SPDX-License-Identifier: Apache-2.0

// Probe is the one program in the images of the tests. Called as .probe it
// tells what it sees: the files, who runs it, where, and its environment; under
// any other name it repeats how it was called.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

type file struct {
	Path  string
	Mode  uint32 // with its kind, as the system has it
	Owner string
	Size  int64
	Sum   string `json:",omitempty"`
	To    string `json:",omitempty"`
	Inode uint64
	Attrs map[string]string `json:",omitempty"`
}

type report struct {
	Files []file
	User  string
	Dir   string
	Env   []string
}

func main() {
	if filepath.Base(os.Args[0]) != ".probe" {
		dir, _ := os.Getwd()
		fmt.Printf("%q %d:%d %s\n", os.Args, os.Getuid(), os.Getgid(), dir)
		return
	}
	r := report{User: fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()), Env: os.Environ()}
	r.Dir, _ = os.Getwd()
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch path {
		case "/proc", "/sys", "/dev":
			return fs.SkipDir
		}
		f, err := look(path)
		r.Files = append(r.Files, f)
		return err
	})
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func look(path string) (f file, err error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return f, err
	}
	f = file{Path: path, Mode: st.Mode, Owner: fmt.Sprintf("%d:%d", st.Uid, st.Gid), Inode: st.Ino}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		f.To, err = os.Readlink(path)
		return f, err
	case syscall.S_IFREG:
		f.Size = st.Size
		if f.Sum, err = sum(path); err != nil {
			return f, err
		}
	}
	f.Attrs, err = attrs(path)
	return f, err
}

func sum(path string) (string, error) {
	r, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	_, err = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

func attrs(path string) (map[string]string, error) {
	buf := make([]byte, 4096)
	n, err := syscall.Listxattr(path, buf)
	if err != nil || n == 0 {
		return nil, nil // a file system without any
	}
	out := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		n, err := syscall.Getxattr(path, name, value)
		if err != nil {
			return nil, err
		}
		out[name] = string(value[:n])
	}
	return out, nil
}
