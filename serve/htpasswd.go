// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/dray-tools/dray/oci"
)

// Htpasswd reads users and passwords as Apache's htpasswd -B writes them (only
// bcrypt, of a cost of at most 16) and returns an Options.Auth that lets each
// of them do everything. ErrInvalid if a line is not of that form.
func Htpasswd(r io.Reader) (func(*http.Request, Access) error, error) {
	p := &passwords{hashes: map[string][]byte{}, good: map[string][32]byte{}, slots: make(chan struct{}, 2)}
	_, _ = rand.Read(p.key[:])
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case !ok || user == "" || err != nil:
			return nil, oci.Errorf(oci.ErrInvalid, "htpasswd line %d: want user:hash with a bcrypt hash (htpasswd -B)", n)
		case cost > 16:
			return nil, oci.Errorf(oci.ErrInvalid, "htpasswd line %d: the cost %d is more than 16", n, cost)
		}
		p.hashes[user] = []byte(hash)
		if p.stranger == nil {
			p.stranger = []byte(hash)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "htpasswd: %w", err)
	}
	return p.check, nil
}

type passwords struct {
	hashes   map[string][]byte
	stranger []byte        // compared for unknown users, which must not be faster
	key      [32]byte      // of the HMAC below, so that no password stays in memory
	slots    chan struct{} // bcrypts at a time: a flood of them must not stop the rest

	mu   sync.Mutex
	good map[string][32]byte // the password that was right last time, by user
}

var errWrongPassword = errors.New("wrong user or password")

func (p *passwords) check(r *http.Request, _ Access) error {
	user, password, ok := r.BasicAuth()
	if !ok {
		return errors.New("a user and a password are needed")
	}
	mac := hmac.New(sha256.New, p.key[:])
	_, _ = io.WriteString(mac, user+"\x00"+password)
	sum := [32]byte(mac.Sum(nil))
	p.mu.Lock()
	last, known := p.good[user]
	p.mu.Unlock()
	if known && hmac.Equal(last[:], sum[:]) {
		return nil
	}
	hash, exists := p.hashes[user]
	if !exists {
		hash = p.stranger
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !exists {
		return errWrongPassword
	}
	p.mu.Lock()
	p.good[user] = sum
	p.mu.Unlock()
	return nil
}
