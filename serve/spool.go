// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"os"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

// spillAt is how many bytes of an upload stay in memory if there is no
// directory for uploads.
const spillAt = 4 << 20

// spool keeps the bytes of an upload, in memory or in a file, and hashes them
// as they come. It has one user at a time, but size may be read by others.
type spool struct {
	path   string // of the file; empty while in memory
	memory bytes.Buffer
	size   atomic.Int64
	alg    digest.Algorithm
	hash   hash.Hash // of the first hashed bytes
	hashed int64
}

// newSpool makes one in memory, or in a file that may have bytes already.
func newSpool(path string, alg digest.Algorithm) (*spool, error) {
	s := &spool{path: path, alg: alg, hash: alg.Hash()}
	if path == "" {
		return s, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s.size.Store(info.Size())
	return s, nil
}

// storageError is trouble of the registry rather than of the client.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }

// append takes all of r. What came before an error stays.
func (s *spool) append(r io.Reader) (n int64, err error) {
	var f *os.File
	defer func() {
		if f != nil {
			if cerr := f.Close(); cerr != nil {
				err = errors.Join(err, storageError{cerr})
			}
		}
	}()
	write := func(p []byte) (int, error) {
		n, err := len(p), error(nil)
		if f == nil && (s.path != "" || s.memory.Len()+len(p) > spillAt) {
			if f, err = s.file(); err != nil {
				return 0, storageError{err}
			}
		}
		if f != nil {
			n, err = f.Write(p)
		} else {
			s.memory.Write(p)
		}
		if s.hashed == s.size.Load() {
			s.hash.Write(p[:n])
			s.hashed += int64(n)
		}
		s.size.Add(int64(n))
		if err != nil {
			return n, storageError{err}
		}
		return n, nil
	}
	return io.CopyBuffer(writerFunc(write), struct{ io.Reader }{r}, make([]byte, 128<<10))
}

// file opens the file at its end; bytes from memory go there first.
func (s *spool) file() (*os.File, error) {
	if s.path != "" {
		return os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND, 0o600)
	}
	f, err := os.CreateTemp("", "dray-upload-")
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(s.memory.Bytes()); err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return nil, err
	}
	s.path, s.memory = f.Name(), bytes.Buffer{}
	return f, nil
}

// truncate goes back to a size.
func (s *spool) truncate(size int64) error {
	if size == s.size.Load() {
		return nil
	}
	if s.path != "" {
		if err := os.Truncate(s.path, size); err != nil {
			return storageError{err}
		}
	} else {
		s.memory.Truncate(int(size))
	}
	s.size.Store(size)
	if s.hashed > size { // what is left has to be hashed again
		s.hash.Reset()
		s.hashed = 0
	}
	return nil
}

func (s *spool) open() (io.ReadCloser, error) {
	if s.path == "" {
		return io.NopCloser(bytes.NewReader(s.memory.Bytes())), nil
	}
	return os.Open(s.path)
}

// digest of all bytes. They are read again only if they were not hashed with
// that algorithm as they came.
func (s *spool) digest(alg digest.Algorithm) (oci.Digest, error) {
	if alg == s.alg && s.hashed == s.size.Load() {
		return digest.NewDigest(alg, s.hash), nil
	}
	r, err := s.open()
	if err != nil {
		return "", storageError{err}
	}
	defer r.Close()
	d, err := alg.FromReader(r)
	if err != nil {
		return "", storageError{err}
	}
	return d, nil
}

func (s *spool) remove() {
	if s.path != "" {
		_ = os.Remove(s.path) // gone already if a store took it over
	}
	s.memory = bytes.Buffer{}
}
