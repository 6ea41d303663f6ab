// SPDX-License-Identifier: Apache-2.0

package dir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/gofrs/flock"

	"github.com/dray-tools/dray/oci"
)

// The members of the hidden directory beside the image.
const (
	lockFile = "lock"
	newDir   = "image" // the next image; after the swap the old one
	oldDir   = "old"   // the old one, where directories cannot be swapped in one step
)

// A stage is where an image is written: a directory beside the one that it
// will replace, under a lock that ends with the process.
type stage struct {
	root *os.Root // the parent of both
	path string   // of root
	base string   // name of the image's directory
	part string   // name of the hidden directory
	lock *flock.Flock

	mu    sync.Mutex
	whole map[string]bool // files of newDir with verified bytes
}

// in is the path of a file of the next image, below root.
func (s *stage) in(name string) string { return path.Join(s.part, newDir, name) }

func (s *stage) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole[name]
}

func (s *stage) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[name] = true
}

// partName is the hidden directory for an image: the same for every run.
func partName(base string) string {
	if len(base) > 200 { // names have at most 255 bytes
		sum := sha256.Sum256([]byte(base))
		base = hex.EncodeToString(sum[:16])
	}
	return "." + base + ".part"
}

// openStage makes the place to write, or finds what a killed run left. ErrBusy
// if somebody else is at it.
func openStage(at string) (*stage, error) {
	parent, base := filepath.Split(at)
	if base == "" {
		return nil, oci.Errorf(oci.ErrInvalid, "%s cannot be replaced", at)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return nil, err
	}
	s := &stage{root: root, path: parent, base: base, part: partName(base), whole: map[string]bool{}}
	if err = s.replaceable(); err == nil {
		err = s.take()
	}
	if err != nil {
		s.root.Remove(s.part) // if it is empty
		root.Close()
		return nil, err
	}
	if err := s.recover(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// replaceable refuses what can be written into but not replaced.
func (s *stage) replaceable() error {
	fi, err := s.root.Lstat(s.base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	parent, err := s.root.Stat(".")
	if err == nil && !sameDevice(parent, fi) {
		err = oci.Errorf(oci.ErrUnsupported, "a file system is mounted there, so that it cannot be replaced as a whole: write to a directory in it")
	}
	return err
}

// take takes the lock. The one who had it may have removed the file in
// between; then it is the lock of a file that nobody else finds.
func (s *stage) take() error {
	name := s.part + "/" + lockFile
	for range 100 {
		if err := s.root.Mkdir(s.part, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		fi, err := s.root.Lstat(s.part)
		if err == nil && (!fi.IsDir() || !mine(fi)) {
			return oci.Errorf(oci.ErrInvalid, "%s is not a directory of this user: remove it", filepath.Join(s.path, s.part))
		}
		f, err := s.root.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) { // another run has just ended
			continue
		}
		if err != nil {
			return err
		}
		f.Close()
		lock := flock.New(filepath.Join(s.path, s.part, lockFile), flock.SetFlag(os.O_RDONLY))
		ok, err := lock.TryLock()
		if err == nil && !ok {
			lock.Close()
			return oci.Errorf(oci.ErrBusy, "another run is writing to it")
		}
		if err == nil {
			held, herr := lock.Stat()
			now, nerr := s.root.Lstat(name)
			if herr == nil && nerr == nil && os.SameFile(held, now) {
				s.lock = lock
				return nil
			}
		}
		lock.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return oci.Errorf(oci.ErrBusy, "other runs are writing to it")
}

// recover puts back an old image that a killed run had moved away, and makes
// the directory for the next.
func (s *stage) recover() error {
	old := s.part + "/" + oldDir
	if _, err := s.root.Lstat(s.base); errors.Is(err, fs.ErrNotExist) {
		if err := s.root.Rename(old, s.base); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.root.RemoveAll(old); err != nil {
		return err
	}
	if fi, err := s.root.Lstat(s.in("")); err == nil && !fi.IsDir() {
		return oci.Errorf(oci.ErrInvalid, "%s is not a directory", filepath.Join(s.path, s.part, newDir))
	}
	if err := s.root.Mkdir(s.in(""), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// end removes the hidden directory and lets go of the lock.
func (s *stage) end() error {
	defer s.root.Close()
	entries, err := fs.ReadDir(s.root.FS(), s.part)
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if rerr := s.root.RemoveAll(s.part + "/" + e.Name()); err == nil {
			err = rerr
		}
	}
	if runtime.GOOS == "windows" { // where an open file cannot be removed
		s.lock.Close()
	}
	s.root.Remove(s.part + "/" + lockFile)
	s.root.Remove(s.part)
	s.lock.Close()
	return err
}
