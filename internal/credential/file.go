// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

const maxFile = 4 << 20

// object is a JSON object whose members keep their order and their bytes.
type object []member

type member struct {
	key   string
	value json.RawMessage
	at    int // offset of the value in the file
}

// parseObject reads a valid JSON value that should be an object; null is an
// empty one. Of equal keys the last counts, as with encoding/json.
func parseObject(raw []byte, base int) (object, bool) {
	if string(raw) == "null" {
		return nil, true
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, false
	}
	var o object
	index := map[string]int{}
	for dec.More() {
		tok, err := dec.Token()
		key, ok := tok.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, false
		}
		m := member{key, value, base + int(dec.InputOffset()) - len(value)}
		if i, again := index[key]; again {
			o[i] = m
			continue
		}
		index[key] = len(o)
		o = append(o, m)
	}
	return o, true
}

func (o object) get(key string) (member, bool) {
	for _, m := range o {
		if m.key == key {
			return m, true
		}
	}
	return member{}, false
}

// file is a config.json or auth.json.
type file struct {
	path    string
	raw     []byte
	top     object
	auths   object // by key as written
	helpers object // credHelpers; the values are strings
	store   string // credsStore
}

// parse reads a document. Errors are ErrInvalid and say where.
func parse(path string, raw []byte, legacy bool) (*file, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // editors of Windows
	f := &file{path: path, raw: raw}
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 {
		return f, nil
	}
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, f.wrong(int(syntax.Offset), "not valid JSON: %s", err)
		}
		return nil, f.wrong(0, "not valid JSON: %s", err)
	}
	start := bytes.IndexByte(raw, trimmed[0])
	var ok bool
	if f.top, ok = parseObject(trimmed, start); !ok {
		return nil, f.wrong(start, "not a JSON object")
	}
	if legacy {
		f.auths = f.top
		return f, nil
	}
	for key, to := range map[string]*object{"auths": &f.auths, "credHelpers": &f.helpers} {
		if m, found := f.top.get(key); found {
			if *to, ok = parseObject(m.value, m.at); !ok {
				return nil, f.wrong(m.at, "%s is not an object", key)
			}
		}
	}
	if m, found := f.top.get("credsStore"); found && json.Unmarshal(m.value, &f.store) != nil {
		return nil, f.wrong(m.at, "credsStore is not a string")
	}
	return f, nil
}

// wrong makes an error about a place in the file. It must not be given what
// the file holds.
func (f *file) wrong(offset int, format string, args ...any) error {
	line := 1 + bytes.Count(f.raw[:min(max(offset, 0), len(f.raw))], []byte("\n"))
	return oci.Errorf(oci.ErrInvalid, "%s: line %d: %w", f.path, line, oci.Errorf(oci.ErrInvalid, format, args...))
}

// wireAuth is one entry of auths.
type wireAuth struct {
	Auth          string `json:"auth,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// lookup finds what auths has for the narrowest of the scopes. Entries that
// say nothing are passed over: Docker leaves them as marks for its helpers.
func (f *file) lookup(scopes []string) (transport.Credential, error) {
	none := transport.Credential{}
	for _, scope := range scopes {
		if m, ok := f.auths.get(scope); ok {
			if c, err := f.credential(m); err != nil || c != none {
				return c, err
			}
		}
		for _, m := range f.auths {
			if m.key == scope || normalKey(m.key) != scope {
				continue
			}
			if c, err := f.credential(m); err != nil || c != none {
				return c, err
			}
		}
	}
	return none, nil
}

func (f *file) credential(m member) (transport.Credential, error) {
	var w wireAuth
	if json.Unmarshal(m.value, &w) != nil {
		return transport.Credential{}, f.wrong(m.at, "the entry of %s in auths is not an object of strings", oci.Quote(m.key))
	}
	c := transport.Credential{Username: w.Username, Password: w.Password, IdentityToken: w.IdentityToken, RegistryToken: w.RegistryToken}
	if w.Auth != "" { // wins over what is beside it, as with Docker
		text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(w.Auth), "="))
		user, password, ok := strings.Cut(string(text), ":")
		if err != nil || !ok {
			return transport.Credential{}, f.wrong(m.at, "auth of %s in auths is not the base64 form of user:password", oci.Quote(m.key))
		}
		c.Username, c.Password = user, strings.TrimRight(password, "\x00")
	}
	if c.Password == "" && c.IdentityToken == "" && c.RegistryToken == "" {
		return transport.Credential{}, nil
	}
	return c, nil
}

// helper names the program that keeps the credentials of a host: the one of
// credHelpers, or with fallback the one of credsStore. server is what it
// knows the host as.
func (f *file) helper(host string, fallback bool) (name, server string, err error) {
	for _, m := range f.helpers {
		if normalKey(m.key) != host {
			continue
		}
		if json.Unmarshal(m.value, &name) != nil {
			return "", "", f.wrong(m.at, "the helper of %s in credHelpers is not a string", oci.Quote(m.key))
		}
		if name != "" {
			return name, keyFor(m.key, host), nil
		}
	}
	if fallback && f.store != "" {
		return f.store, writtenKey(host), nil
	}
	return "", "", nil
}

// keyFor is what Docker and Podman call a host when they talk to the helper
// that is named for it: the key itself. One that could break the line of the
// protocol is not used.
func keyFor(key, host string) string {
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return writtenKey(host)
	}
	return key
}

// secret reports whether others must not read the file.
func (f *file) secret() bool {
	for _, m := range f.auths {
		if c, err := f.credential(m); err != nil || c != (transport.Credential{}) {
			return true
		}
	}
	return false
}

// load reads a file; nil if there is none.
func load(path string, legacy bool) (*file, os.FileInfo, error) {
	h, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(h, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > maxFile {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "%s has more than %d bytes", path, maxFile)
	}
	f, err := parse(path, raw, legacy)
	return f, info, err
}
