// SPDX-License-Identifier: Apache-2.0

package registry

import (
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

	file  string // "": not kept
	lock  *flock.Flock
	saved string // the location that the file has
}

const (
	worthSaving = 1 << 20        // bytes; smaller blobs are sent again
	sessionAge  = 24 * time.Hour // registries forget sessions; so does dray
)

type savedSession struct {
	Location string    `json:"location"`
	Began    time.Time `json:"began"`
}

// saved finds the session that an earlier process left for a blob, or an empty
// one that will be kept; nil if none can be kept or another process is using
// it.
func (r *Repo) saved(d oci.Descriptor) *session {
	if r.g.o.StateDir == "" || d.Size < worthSaving {
		return nil
	}
	dir := filepath.Join(r.g.o.StateDir, "uploads")
	if os.MkdirAll(dir, 0o700) != nil {
		return nil
	}
	key := oci.FromBytes([]byte(r.place(string(d.Digest)))).Encoded()
	s := &session{file: filepath.Join(dir, key+".json"), lock: flock.New(filepath.Join(dir, key+".lock"), flock.SetPermissions(0o600))}
	if ok, err := s.lock.TryLock(); !ok || err != nil {
		return nil
	}
	raw, err := os.ReadFile(s.file)
	var old savedSession
	if err != nil || json.Unmarshal(raw, &old) != nil || time.Since(old.Began) > sessionAge {
		return s
	}
	if u, err := url.Parse(old.Location); err == nil && u.IsAbs() {
		s.location, s.resumed, s.saved = u, true, old.Location
	}
	return s
}

// save keeps the session's place; where that fails the upload goes on without.
func (s *session) save() {
	if s.file == "" || s.location == nil || s.saved == s.location.String() {
		return
	}
	raw, err := json.Marshal(savedSession{s.location.String(), time.Now()})
	if err == nil && os.WriteFile(s.file+".new", raw, 0o600) == nil && os.Rename(s.file+".new", s.file) == nil {
		s.saved = s.location.String()
	}
}

// forget removes the session's file.
func (s *session) forget() {
	if s.file != "" && s.saved != "" {
		_ = os.Remove(s.file)
		s.saved = ""
	}
}

// release lets other processes have the session.
func (s *session) release() {
	if s.lock != nil {
		_ = os.Remove(s.lock.Path()) // while locked, so that nobody else has it
		_ = s.lock.Unlock()
	}
}
