// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/dray-tools/dray/oci"
)

// wireConfig is registries.conf in its second format
// (containers-registries.conf(5)). What dray has no use for is named so that
// it is not taken for a spelling mistake.
type wireConfig struct {
	Registry []wireRegistry `toml:"registry"`

	Search     any `toml:"unqualified-search-registries"`
	ShortNames any `toml:"short-name-mode"`
	Aliases    any `toml:"aliases"`
	Helpers    any `toml:"credential-helpers"`
	Layers     any `toml:"additional-layer-store-auth-helper"`
	V1         any `toml:"registries"`
}

type wireRegistry struct {
	Prefix         string       `toml:"prefix"`
	Location       string       `toml:"location"`
	Insecure       bool         `toml:"insecure"`
	Blocked        bool         `toml:"blocked"`
	MirrorByDigest bool         `toml:"mirror-by-digest-only"`
	Mirror         []wireMirror `toml:"mirror"`
}

type wireMirror struct {
	Location       string `toml:"location"`
	Insecure       bool   `toml:"insecure"`
	PullFromMirror string `toml:"pull-from-mirror"`
}

// add merges one file.
func (c *Config) add(name string, raw []byte, o Options) error {
	if err := checkText(raw); err != nil {
		return oci.Wrap("read", name, err)
	}
	var w wireConfig
	md, err := toml.Decode(string(raw), &w)
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "%s: %s", name, printable(err.Error()))
	}
	if w.V1 != nil {
		return oci.Errorf(oci.ErrInvalid, "%s is in the v1 format, which is no longer read: write [[registry]] tables instead of [registries.*]", name)
	}
	for _, key := range md.Undecoded() {
		if !md.IsDefined("aliases") || key[0] != "aliases" {
			o.warn(fmt.Sprintf("%s: unknown key %s is ignored", name, oci.Quote(key.String())))
		}
	}
	if list, ok := w.Helpers.([]any); ok && slices.ContainsFunc(list, func(v any) bool { return v != "containers-auth.json" }) {
		o.warn(name + ": credential-helpers is ignored; name them in credHelpers of auth.json or config.json")
	}
	var tables []table
	for i, r := range w.Registry {
		t, err := r.table()
		if err != nil {
			return oci.Errorf(oci.ErrInvalid, "%s: registry %d: %w", name, i+1, err)
		}
		t.file = name
		switch {
		case !hasTag(t.prefix):
		case t.blocked:
			return oci.Errorf(oci.ErrUnsupported, "%s: registry %d blocks %s: a tag or a digest alone cannot be blocked", name, i+1, oci.Quote(t.prefix))
		default:
			o.warn(fmt.Sprintf("%s: registry %d is ignored: its prefix %s names a tag or a digest", name, i+1, oci.Quote(t.prefix)))
			continue
		}
		if slices.ContainsFunc(tables, func(old table) bool { return old.prefix == t.prefix }) {
			o.warn(fmt.Sprintf("%s: registry %d is ignored: the prefix %s has a table already", name, i+1, oci.Quote(t.prefix)))
			continue
		}
		tables = append(tables, t)
	}
	for _, t := range tables {
		c.tables = slices.DeleteFunc(c.tables, func(old table) bool { return old.prefix == t.prefix })
		c.tables = append(c.tables, t)
	}
	return nil
}

// Limits of a registries.conf: for nested or dotted keys the TOML reader needs
// time with the square of their number.
const (
	maxConf  = 256 << 10
	maxLine  = 16 << 10
	maxDepth = 64
)

// checkText refuses what would keep the TOML reader busy for long. Brackets
// in strings and comments count too, which in practice come in pairs.
func checkText(raw []byte) error {
	if len(raw) > maxConf {
		return oci.Errorf(oci.ErrInvalid, "more than %d bytes", maxConf)
	}
	if !utf8.Valid(raw) {
		return oci.Errorf(oci.ErrInvalid, "not valid UTF-8")
	}
	depth, line, start := 0, 1, 0
	for i, b := range raw {
		switch b {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		case '\n':
			line, start = line+1, i+1
		}
		if depth > maxDepth {
			return oci.Errorf(oci.ErrInvalid, "line %d: nested more than %d deep", line, maxDepth)
		}
		if i-start >= maxLine {
			return oci.Errorf(oci.ErrInvalid, "line %d has more than %d bytes", line, maxLine)
		}
	}
	return nil
}

// table checks one [[registry]].
func (r wireRegistry) table() (table, error) {
	t := table{prefix: strings.ToLower(strings.TrimRight(r.Prefix, "/")), blocked: r.Blocked}
	loc, err := parseLocation(r.Location)
	if err != nil {
		return t, err
	}
	wild := strings.HasPrefix(t.prefix, "*.")
	switch {
	case t.prefix == "" && loc == "":
		return t, oci.Errorf(oci.ErrInvalid, "prefix and location are both missing")
	case t.prefix == "":
		t.prefix = strings.ToLower(loc)
	case loc == "" && !wild:
		return t, oci.Errorf(oci.ErrInvalid, "prefix %s has no location", oci.Quote(t.prefix))
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(t.prefix, "*."), "/")
	if err := checkHost(host); err != nil {
		return t, oci.Errorf(oci.ErrInvalid, "prefix %s: %w", oci.Quote(t.prefix), err)
	}
	t.primary = place{location: loc, insecure: r.Insecure}
	for _, m := range r.Mirror {
		p, err := m.place(r.MirrorByDigest)
		if err != nil {
			return t, oci.Errorf(oci.ErrInvalid, "mirror %s: %w", oci.Quote(m.Location), err)
		}
		t.mirrors = append(t.mirrors, p)
	}
	return t, nil
}

func (m wireMirror) place(digestOnly bool) (place, error) {
	loc, err := parseLocation(m.Location)
	if err != nil {
		return place{}, err
	}
	p := place{location: loc, insecure: m.Insecure, noTag: digestOnly}
	switch {
	case loc == "":
		return p, oci.Errorf(oci.ErrInvalid, "location is missing")
	case m.PullFromMirror == "":
		return p, nil
	case digestOnly:
		return p, oci.Errorf(oci.ErrInvalid, "pull-from-mirror cannot be set beside mirror-by-digest-only")
	}
	switch m.PullFromMirror {
	case "all":
	case "digest-only":
		p.noTag = true
	case "tag-only":
		p.noDigest = true
	default:
		return p, oci.Errorf(oci.ErrInvalid, "pull-from-mirror is %s, want all, digest-only or tag-only", oci.Quote(m.PullFromMirror))
	}
	return p, nil
}

// parseLocation checks HOST[:PORT][/PATH]; empty stays empty.
func parseLocation(s string) (string, error) {
	loc := strings.TrimRight(s, "/")
	if loc == "" && s == "" {
		return "", nil
	}
	if strings.Contains(loc, "://") {
		return "", oci.Errorf(oci.ErrInvalid, "location %s must not have a scheme", oci.Quote(s))
	}
	host, path, _ := strings.Cut(loc, "/")
	if err := checkHost(host); err != nil {
		return "", err
	}
	for part := range strings.SplitSeq(path, "/") {
		bad := strings.ContainsFunc(part, func(r rune) bool { return !isLetter(r) && !strings.ContainsRune("._-", r) })
		if bad || part == "." || part == ".." || part == "" && path != "" {
			return "", oci.Errorf(oci.ErrInvalid, "location %s is not HOST[:PORT][/PATH]", oci.Quote(s))
		}
	}
	return loc, nil
}

func isLetter(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// checkHost refuses what cannot be HOST[:PORT], and with it everything that
// could leave a directory or a line.
func checkHost(host string) error {
	bad := strings.ContainsFunc(host, func(r rune) bool { return !isLetter(r) && !strings.ContainsRune("._-:[]", r) })
	if bad || host == "" || len(host) > 255 || strings.Contains(host, "..") || host[0] == '.' || host[len(host)-1] == '.' {
		return oci.Errorf(oci.ErrInvalid, "%s is not the name of a registry", oci.Quote(host))
	}
	return nil
}

// hasTag reports whether a prefix goes further than a repository.
func hasTag(prefix string) bool {
	_, path, _ := strings.Cut(prefix, "/")
	return strings.ContainsAny(path, ":@")
}

// printable takes control characters out of a message.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
