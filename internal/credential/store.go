// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// A Store is all the places in which a user keeps credentials. It is safe for
// concurrent use.
type Store struct {
	paths Paths
	opts  Options

	mu       sync.Mutex
	files    map[string]*cached // by path
	answers  map[string]*answer // by helper and server
	problems map[string]string  // by host
	warned   map[string]bool
}

type cached struct {
	file *file
	size int64
	time time.Time
	once bool // a pipe, which cannot be read again
}

// Open reads nothing yet.
func Open(p Paths, o Options) *Store {
	return &Store{paths: p, opts: o.withDefaults(), files: map[string]*cached{}, answers: map[string]*answer{},
		problems: map[string]string{}, warned: map[string]bool{}}
}

// Lookup finds the credential for a repository; the zero one if there is none.
// The files are those of Paths in their order. Within each comes first the
// helper that credHelpers names for the host, then the entry of auths with the
// narrowest key from host/namespace/repository up to host, and then the helper
// of credsStore.
//
// A helper that fails is passed over and warned about, so that what is public
// can be had; see LastProblem. ErrInvalid, naming the file and line, if a file
// is broken, if --authfile does not exist or if host cannot be one.
func (s *Store) Lookup(ctx context.Context, host, repository string) (transport.Credential, error) {
	none := transport.Credential{}
	host, err := canonical(host)
	if err != nil {
		return none, err
	}
	for _, p := range s.paths.reading() {
		f, err := s.read(p)
		if err != nil {
			return none, err
		}
		if f == nil {
			continue
		}
		c, err := s.lookupIn(ctx, f, host, repository)
		if err != nil || c != none {
			return c, err
		}
	}
	return none, nil
}

func (s *Store) lookupIn(ctx context.Context, f *file, host, repository string) (transport.Credential, error) {
	own, server, err := f.helper(host, false)
	if err != nil {
		return transport.Credential{}, err
	}
	if own != "" {
		if c, err := s.ask(ctx, host, own, server); err != nil || c != (transport.Credential{}) {
			return c, err
		}
	}
	c, err := f.lookup(scopes(host, repository))
	if err != nil || c != (transport.Credential{}) || own != "" || f.store == "" {
		return c, err
	}
	return s.ask(ctx, host, f.store, writtenKey(host))
}

// LastProblem tells what went wrong in looking for the credential of a host,
// for the message of a later refusal; empty if nothing did.
func (s *Store) LastProblem(host string) string {
	host, err := canonical(host)
	if err != nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problems[host]
}

// problem keeps what went wrong for a host, and warns.
func (s *Store) problem(host, text string) {
	s.mu.Lock()
	s.problems[host] = text
	s.mu.Unlock()
	s.warn(text)
}

func (s *Store) warn(text string) {
	s.mu.Lock()
	again := s.warned[text]
	s.warned[text] = true
	s.mu.Unlock()
	if !again {
		s.opts.Warn(text)
	}
}

// read returns a file, nil if there is none. It is parsed again only if it
// has changed.
func (s *Store) read(p place) (*file, error) {
	s.mu.Lock()
	old := s.files[p.path]
	s.mu.Unlock()
	if old != nil {
		if info, err := os.Stat(p.path); old.once || err == nil && info.Size() == old.size && info.ModTime().Equal(old.time) {
			return old.file, nil
		}
	}
	f, info, err := load(p.path, p.legacy)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		if p.required {
			return nil, oci.Errorf(oci.ErrInvalid, "auth file %s does not exist", p.path)
		}
		return nil, nil
	case errors.Is(err, fs.ErrPermission) && !p.named:
		s.warn(fmt.Sprintf("%s is ignored: permission denied", p.path))
		return nil, nil
	case err != nil:
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 && runtime.GOOS != "windows" && f.secret() {
		s.warn(fmt.Sprintf("%s holds credentials and can be read by everybody: chmod 600 %s", p.path, p.path))
	}
	s.mu.Lock()
	s.files[p.path] = &cached{f, info.Size(), info.ModTime(), !info.Mode().IsRegular()}
	s.mu.Unlock()
	return f, nil
}
