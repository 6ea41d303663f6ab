// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/dray-tools/dray/oci"
)

// A session is an upload under way at the registry. Where the run has a state
// directory, the session of a blob that is worth it is on disk, locked for
// this process, so that the next process goes on with it after this one was
// killed.
type session struct {
	location *url.URL // nil: none yet
	offset   int64    // bytes that the registry has
	minChunk int64
	resumed  bool // begun by another process

	file string // "": not kept
	lock *flock.Flock
	kept string // the location that the file has
}

const (
	worthSaving = 1 << 20        // bytes; smaller blobs are sent again
	sessionAge  = 24 * time.Hour // registries forget sessions; so does dray
	maxSession  = 64 << 10       // bytes of a file
)

type savedSession struct {
	Location string    `json:"location"`
	Began    time.Time `json:"began"`
}

// saved finds the session that an earlier process left for a blob, or an empty
// one that will be kept, unless none can be kept or another process is using
// it.
func (r *Repo) saved(d oci.Descriptor) *session {
	if r.g.o.StateDir == "" || d.Size < worthSaving {
		return &session{}
	}
	dir := filepath.Join(r.g.o.StateDir, "uploads")
	if os.MkdirAll(dir, 0o700) != nil {
		return &session{}
	}
	key := oci.FromBytes([]byte(r.place(string(d.Digest)))).Encoded()
	s := &session{file: filepath.Join(dir, key+".json"), lock: lockFile(filepath.Join(dir, key+".lock"))}
	if s.lock == nil {
		return &session{}
	}
	if old, ok := readSession(s.file); ok {
		s.location, s.resumed, s.kept = old, true, old.String()
	} else {
		_ = os.Remove(s.file)
	}
	return s
}

// Left implements oci.Resumer: what the session that an earlier process left has.
// It takes a request if there is one.
func (r *Repo) Left(ctx context.Context, d oci.Descriptor) int64 {
	if r.g.o.StateDir == "" || d.Size < worthSaving || oci.CheckDescriptor(d) != nil {
		return 0
	}
	s := r.saved(d)
	defer s.release()
	if s.location == nil || (&uploading{r: r, d: d, s: s}).status(ctx) != nil {
		return 0
	}
	return s.offset
}

// lockFile takes a lock, or returns nil if another process has it.
func lockFile(path string) *flock.Flock {
	lock := flock.New(path, flock.SetPermissions(0o600))
	if ok, err := lock.TryLock(); !ok || err != nil {
		_ = lock.Close()
		return nil
	}
	// Who had it before may have removed the file after we opened it.
	mine, err := lock.Stat()
	now, err2 := os.Stat(path)
	if err != nil || err2 != nil || !os.SameFile(mine, now) {
		_ = lock.Close()
		return nil
	}
	return lock
}

func readSession(path string) (*url.URL, bool) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSession {
		return nil, false
	}
	raw, err := os.ReadFile(path)
	var old savedSession
	if err != nil || json.Unmarshal(raw, &old) != nil {
		return nil, false
	}
	u, err := url.Parse(old.Location)
	age := time.Since(old.Began)
	return u, err == nil && u.IsAbs() && age < sessionAge && age > -sessionAge
}

// save keeps the session's place; where that fails the upload goes on without.
func (s *session) save() {
	if s.file == "" || s.location == nil || s.kept == s.location.String() {
		return
	}
	raw, err := json.Marshal(savedSession{s.location.String(), time.Now()})
	if err != nil || len(raw) > maxSession {
		return
	}
	_ = os.Remove(s.file + ".new") // left by a process that was killed
	f, err := os.OpenFile(s.file+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	_, err = f.Write(raw)
	if f.Close() == nil && err == nil && os.Rename(s.file+".new", s.file) == nil {
		s.kept = s.location.String()
	}
}

// forget removes the session's file.
func (s *session) forget() {
	if s.kept != "" {
		_ = os.Remove(s.file)
		s.kept = ""
	}
}

// release lets other processes have the session.
func (s *session) release() {
	if s.lock != nil {
		_ = os.Remove(s.lock.Path()) // while locked, so that nobody else has it
		_ = s.lock.Unlock()
	}
}
