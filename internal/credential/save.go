// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// lockWait bounds how long another writer of the same file is waited for.
const lockWait = 30 * time.Second

// Target is the file that Save and Erase work on: --authfile, else
// REGISTRY_AUTH_FILE, else Docker's config.json, which Podman reads too.
func (s *Store) Target() string {
	for _, path := range []string{s.paths.AuthFile, s.paths.EnvAuthFile} {
		if path != "" {
			return path
		}
	}
	return s.paths.DockerConfig
}

// Save keeps the credential of a host: with the helper that Target names for
// it, else in Target itself, which is replaced as a whole, readable by its
// owner alone, and keeps all that is not about this host. It warns if another
// file that is read before has a credential for the host. ErrInvalid if the
// credential cannot be written down, ErrUnauthorized if the helper fails,
// ErrBusy if another process holds the file for too long.
func (s *Store) Save(ctx context.Context, host string, cred transport.Credential) error {
	host, err := canonical(host)
	if err != nil {
		return err
	}
	switch {
	case cred.Password == "" && cred.IdentityToken == "" && cred.RegistryToken == "":
		return oci.Errorf(oci.ErrInvalid, "there is no password or token to keep")
	case strings.ContainsAny(cred.Username, ":\x00\n\r"):
		return oci.Errorf(oci.ErrInvalid, "user name %s must not contain a colon or a line break", oci.Quote(cred.Username))
	}
	f, err := s.target()
	if err != nil {
		return err
	}
	name, server, err := f.helper(host, true)
	if err != nil {
		return err
	}
	entry := newEntry(cred)
	if name != "" {
		if err := s.helperStore(ctx, name, server, cred); err != nil {
			return err
		}
		entry = wireAuth{} // the mark that Docker leaves for its logout
	}
	raw, err := encode(entry)
	if err != nil {
		return err
	}
	_, err = s.update(ctx, func(auths object) (object, bool) {
		auths, _ = without(auths, host, writtenKey(host))
		for i, m := range auths {
			if m.key == writtenKey(host) {
				auths[i].value = raw
				return auths, true
			}
		}
		return append(auths, member{key: writtenKey(host), value: raw}), true
	})
	if err == nil {
		s.warnOthers(host, true)
	}
	return err
}

func newEntry(c transport.Credential) wireAuth {
	w := wireAuth{IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}
	if c.Username != "" || c.Password != "" {
		w.Auth = base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password))
	}
	return w
}

// Erase removes the credential of a host from Target and from the helper that
// Target names for it. Entries for namespaces of the host stay. It warns about
// other files that still have one. ErrNotFound if there was nothing.
func (s *Store) Erase(ctx context.Context, host string) error {
	host, err := canonical(host)
	if err != nil {
		return err
	}
	f, err := s.target()
	if err != nil {
		return err
	}
	name, server, err := f.helper(host, true)
	if err != nil {
		return err
	}
	had := false
	if name != "" {
		if cred, err := s.helperGet(ctx, name, server); err != nil {
			return err
		} else if had = cred != (transport.Credential{}); had {
			if err := s.helperErase(ctx, name, server); err != nil {
				return err
			}
		}
	}
	if _, found := without(f.auths, host, ""); found {
		removed, err := s.update(ctx, func(auths object) (object, bool) { return without(auths, host, "") })
		if err != nil {
			return err
		}
		had = had || removed
	}
	s.forget()
	others := s.warnOthers(host, false)
	if had {
		return nil
	}
	if len(others) > 0 {
		return oci.Errorf(oci.ErrNotFound, "no credential for %s in %s, but there is one in %s", host, s.Target(), strings.Join(others, ", "))
	}
	return oci.Errorf(oci.ErrNotFound, "no credential for %s in %s", host, s.Target())
}

// without drops the entries that are for the whole host, except that of the
// key keep.
func without(auths object, host, keep string) (object, bool) {
	var out object
	for _, m := range auths {
		if m.key == keep || normalKey(m.key) != host {
			out = append(out, m)
		}
	}
	return out, len(out) < len(auths)
}

// warnOthers looks for credentials of a host outside of Target, and returns
// the files. before limits it to those that hide Target.
func (s *Store) warnOthers(host string, before bool) []string {
	var out []string
	for _, p := range s.paths.reading() {
		if p.path == s.Target() {
			if before {
				break
			}
			continue
		}
		f, err := s.read(p)
		if err != nil || f == nil {
			continue
		}
		c, err := f.lookup([]string{host})
		name, _, _ := f.helper(host, false)
		if err != nil || c != (transport.Credential{}) || name != "" {
			out = append(out, p.path)
			if before {
				s.warn(fmt.Sprintf("%s has a credential for %s too and is read before %s", p.path, host, s.Target()))
			} else {
				s.warn(fmt.Sprintf("%s has a credential for %s too", p.path, host))
			}
		}
	}
	return out
}

// target reads the file to be written, which need not exist.
func (s *Store) target() (*file, error) {
	path := s.Target()
	if path == "" {
		return nil, oci.Errorf(oci.ErrInvalid, "there is no place for credentials: no home directory is known and no auth file is named")
	}
	f, info, err := load(path, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &file{path: path}, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, oci.Errorf(oci.ErrInvalid, "%s is not a regular file", path)
	}
	return f, nil
}

// update changes the auths of Target under a lock, and reports whether there
// was something to change.
func (s *Store) update(ctx context.Context, change func(object) (object, bool)) (bool, error) {
	defer s.forget()
	path, err := follow(s.Target())
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	unlock, err := lock(ctx, path)
	if err != nil {
		return false, err
	}
	defer unlock()
	f, err := s.target() // again: it may have changed before the lock
	if err != nil {
		return false, err
	}
	auths, changed := change(f.auths)
	if !changed {
		return false, nil
	}
	raw, err := f.withAuths(auths)
	if err != nil {
		return false, err
	}
	return true, replace(path, raw)
}

// lock keeps out other processes of dray; the file beside the target stays,
// because removing it would let two in.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	short, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	l := flock.New(path+".lock", flock.SetPermissions(0o600))
	ok, err := l.TryLockContext(short, 20*time.Millisecond)
	switch {
	case ok:
		return func() { _ = l.Close() }, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case short.Err() != nil:
		return nil, oci.Errorf(oci.ErrBusy, "%s is held by another process", path+".lock")
	}
	return nil, err
}

// withAuths is the document with other auths and nothing else changed, in the
// form that Docker and Podman write.
func (f *file) withAuths(auths object) ([]byte, error) {
	inner, err := auths.encode()
	if err != nil {
		return nil, err
	}
	top := append(object{}, f.top...)
	found := false
	for i, m := range top {
		if m.key == "auths" {
			top[i].value, found = inner, true
		}
	}
	if !found {
		top = append(object{{key: "auths", value: inner}}, top...)
	}
	raw, err := top.encode()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, raw, "", "\t")
	return out.Bytes(), err
}

func (o object) encode() (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := encode(m.key)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encode is json.Marshal without escapes for HTML.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
