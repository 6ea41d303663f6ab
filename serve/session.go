// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// uploads are the unfinished uploads. Its lock is never held while a body is
// read.
type uploads struct {
	dir    string
	limits Limits
	now    func() time.Time

	mu      sync.Mutex
	byID    map[string]*session
	clients map[string]int // sessions by address
	swept   time.Time
}

func newUploads(o Options) *uploads {
	return &uploads{dir: o.UploadDir, limits: o.Limits, now: o.Now, byID: map[string]*session{}, clients: map[string]int{}}
}

// session is one upload. Whoever holds the turn may use the spool.
type session struct {
	id     string
	saved  savedSession
	client string
	turn   chan struct{} // of size 1; holds a value while somebody writes
	spool  *spool
	seen   time.Time // guarded by uploads.mu
	ended  bool      // guarded by the turn
}

// savedSession is what a restart has to know.
type savedSession struct {
	Repository string           `json:"repository"`
	Algorithm  digest.Algorithm `json:"algorithm"`
}

var (
	errTooManyUploads = answer(http.StatusTooManyRequests, codeTooMany, "too many unfinished uploads")
	errNoUpload       = answer(http.StatusNotFound, codeUploadUnknown, "no such upload")
)

func (u *uploads) file(id string) string { return filepath.Join(u.dir, id) }

// start makes a session that only its id of 128 random bits leads to.
func (u *uploads) start(repository string, alg digest.Algorithm, client string) (*session, error) {
	u.sweep()
	s := &session{id: rand.Text(), saved: savedSession{repository, alg}, client: client, turn: make(chan struct{}, 1)}
	u.mu.Lock()
	full := len(u.byID) >= u.limits.Uploads || u.clients[client] >= u.limits.ClientUploads
	if !full {
		u.add(s)
	}
	u.mu.Unlock()
	if full {
		return nil, errTooManyUploads
	}
	if err := u.create(s); err != nil {
		u.forget(s)
		return nil, err
	}
	return s, nil
}

func (u *uploads) create(s *session) (err error) {
	if u.dir == "" {
		s.spool, err = newSpool("", s.saved.Algorithm)
		return err
	}
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return err
	}
	raw, err := json.Marshal(s.saved)
	if err != nil {
		return err
	}
	if s.spool, err = newSpool(u.file(s.id), s.saved.Algorithm); err != nil {
		return err
	}
	return os.WriteFile(u.file(s.id)+".json", raw, 0o600)
}

// add runs under the lock.
func (u *uploads) add(s *session) {
	s.seen = u.now()
	u.byID[s.id] = s
	u.clients[s.client]++
}

// find returns the session with that id if it is one of the repository.
func (u *uploads) find(repository, id string) (*session, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.byID[id]
	if s == nil && u.dir != "" {
		s = u.restore(id)
	}
	if s == nil || s.spool == nil || s.saved.Repository != repository || u.now().Sub(s.seen) > u.limits.UploadAge {
		return nil, errNoUpload
	}
	s.seen = u.now()
	return s, nil
}

// restore takes up a session of an earlier process.
func (u *uploads) restore(id string) *session {
	raw, err := os.ReadFile(u.file(id) + ".json")
	if err != nil {
		return nil
	}
	s := &session{id: id, turn: make(chan struct{}, 1)}
	if json.Unmarshal(raw, &s.saved) != nil || !s.saved.Algorithm.Available() {
		return nil
	}
	info, err := os.Stat(u.file(id))
	if err != nil {
		return nil
	}
	if s.spool, err = newSpool(u.file(id), s.saved.Algorithm); err != nil {
		return nil
	}
	u.add(s)
	s.seen = info.ModTime()
	return s
}

func (u *uploads) touch(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.seen = u.now()
}

// forget takes a session out of the books.
func (u *uploads) forget(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byID[s.id] != s {
		return
	}
	delete(u.byID, s.id)
	if u.clients[s.client]--; u.clients[s.client] <= 0 {
		delete(u.clients, s.client)
	}
}

// end drops a session and its bytes. The caller has the turn.
func (u *uploads) end(s *session) {
	s.ended = true
	if u.dir != "" {
		_ = os.Remove(u.file(s.id) + ".json")
	}
	if s.spool != nil {
		s.spool.remove()
	}
	u.forget(s)
}

// take gives the turn to the caller: one writer at a time, and nobody waits.
func (s *session) take() error {
	select {
	case s.turn <- struct{}{}:
	default:
		e := answer(http.StatusConflict, codeUploadInvalid, "another request is writing this upload")
		e.header = http.Header{"Retry-After": {"1"}}
		return e
	}
	if s.ended {
		s.give()
		return errNoUpload
	}
	return nil
}

func (s *session) give() { <-s.turn }

// sweep drops what is too old, now and then.
func (u *uploads) sweep() {
	u.mu.Lock()
	now := u.now()
	if now.Sub(u.swept) < min(time.Minute, u.limits.UploadAge) {
		u.mu.Unlock()
		return
	}
	u.swept = now
	var old []*session
	for _, s := range u.byID {
		if now.Sub(s.seen) > u.limits.UploadAge {
			old = append(old, s)
		}
	}
	u.mu.Unlock()
	for _, s := range old {
		if s.take() == nil { // else somebody writes it, slowly
			u.end(s)
			s.give()
		}
	}
	u.sweepDir(now)
}

// sweepDir drops old files that no session of this process belongs to.
func (u *uploads) sweepDir(now time.Time) {
	if u.dir == "" {
		return
	}
	entries, err := os.ReadDir(u.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		id := strings.TrimSuffix(e.Name(), ".json")
		if !uploadForm.MatchString(id) {
			continue
		}
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) <= u.limits.UploadAge {
			continue
		}
		u.mu.Lock()
		if u.byID[id] == nil && !u.youngData(id, now) {
			_ = os.Remove(filepath.Join(u.dir, e.Name()))
		}
		u.mu.Unlock()
	}
}

// youngData reports whether bytes of the upload arrived not long ago, however
// old its other file is.
func (u *uploads) youngData(id string, now time.Time) bool {
	info, err := os.Stat(u.file(id))
	return err == nil && now.Sub(info.ModTime()) <= u.limits.UploadAge
}

// clientOf is the address of the client, without its port.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// isStorage reports whether an error is the registry's own trouble.
func isStorage(err error) bool {
	var s storageError
	return errors.As(err, &s)
}
