// SPDX-License-Identifier: Apache-2.0

package files

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A source is a file or directory that a place is filled with, for one platform
// or for all.
type source struct {
	path     string
	platform oci.Platform // as its name says; zero: it says none
	bare     string       // its name without the platform; "": nothing is left
}

// Words for platforms as they are found in names of files.
const (
	osWords      = `linux|windows|freebsd|darwin|macos|openbsd|netbsd|solaris|illumos|dragonfly|aix|android|plan9|js|wasip1`
	archWords    = `x86_64|x86-64|amd64|i386|i686|386|x86|aarch64|arm64|armv[5-8]|armhf|armel|arm|riscv64|s390x|ppc64le|ppc64|mips64le|mips64|mipsle|mips|loong64|loongarch64|wasm`
	variantWords = `v?[0-9](?:\.[0-9])?|hardfloat|softfloat|sse2|power[0-9]+|rva[0-9]+u[0-9]+`
)

// named is a name that ends with a platform, as app_linux_amd64_v1 or
// app-windows-arm64.exe.
var named = regexp.MustCompile(`(?i)^(.+?)[_.-](?:` + osWords + `)[_.-](?:` + archWords + `)(?:[_-]?(?:` + variantWords + `))?(?:\.exe)?$`)

// bareName is a name without the platform and without .exe.
func bareName(name string) string {
	if m := named.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return strings.TrimSuffix(name, ".exe")
}

// IsTemplate reports whether a path has {os} or {arch} in it, which stand for
// those of each platform.
func IsTemplate(path string) bool {
	return strings.Contains(path, "{os}") || strings.Contains(path, "{arch}")
}

// fixed is the directory that everything a template means is in.
func fixed(template string) string {
	var dir []string
	for part := range strings.SplitSeq(filepath.ToSlash(template), "/") {
		if IsTemplate(part) || strings.Contains(part, "{variant}") {
			break
		}
		dir = append(dir, part)
	}
	if len(dir) == 1 && dir[0] == "" {
		return "/"
	}
	if len(dir) == 0 {
		return "."
	}
	return strings.Join(dir, "/")
}

// expand finds what a template means, in the order of the names. Without a
// {variant} an architecture may be followed by one, as goreleaser writes it.
func expand(template string) (out []source, err error) {
	at := fixed(template)
	rest := strings.TrimPrefix(strings.TrimPrefix(filepath.ToSlash(template), at), "/")
	if at == "." {
		rest = filepath.ToSlash(template)
	}
	matches := []match{{path: at}}
	parts := strings.Split(rest, "/")
	for n, part := range parts {
		if matches, err = step(matches, part, n == len(parts)-1, strings.Contains(template, "{variant}")); err != nil {
			return nil, err
		}
	}
	for _, m := range matches {
		s := source{path: m.path, platform: m.platform(), bare: bareName(filepath.Base(m.path))}
		if IsTemplate(parts[len(parts)-1]) && s.bare == strings.TrimSuffix(filepath.Base(m.path), ".exe") {
			s.bare = ""
		}
		out = append(out, s)
	}
	return out, nil
}

// below is a name in a directory. Nothing is taken out of the path: what x/.. is
// depends on where a link x leads.
func below(dir, name string) string {
	if dir == "." {
		return name
	}
	return strings.TrimSuffix(dir, "/") + "/" + name
}

// A match is a part of a template that was found, and what its words stand for.
type match struct{ path, os, arch, variant string }

// platform is the one that the words mean. What a variant says about floats and
// the like is no part of it.
func (m match) platform() oci.Platform {
	p := oci.Platform{OS: strings.ToLower(m.os), Architecture: strings.ToLower(m.arch), Variant: strings.ToLower(m.variant)}
	switch {
	case p.OS == "macos":
		p.OS = "darwin"
	case p.OS == "":
		p.OS = "linux"
	}
	if strings.HasPrefix(p.Architecture, "armv") {
		p.Architecture, p.Variant = "arm", p.Architecture[3:]
	}
	if p.Architecture == "loongarch64" {
		p.Architecture = "loong64"
	}
	p.Variant, _, _ = strings.Cut(strings.TrimPrefix(p.Variant, "v"), ".")
	if len(p.Variant) == 1 {
		p.Variant = "v" + p.Variant
	} else {
		p.Variant = ""
	}
	p = oci.NormalizePlatform(p)
	if p.Architecture == "arm64" || p.Architecture != "arm" && p.Architecture != "amd64" {
		p.Variant = ""
	}
	return p
}

// step goes one name of the template further.
func step(from []match, part string, last, variants bool) (to []match, err error) {
	if !IsTemplate(part) && !strings.Contains(part, "{variant}") {
		for _, m := range from {
			path := below(m.path, part)
			if _, err := os.Stat(path); err != nil && last && strings.EqualFold(m.os, "windows") {
				path += ".exe"
			}
			if _, err := os.Stat(path); err == nil {
				m.path = path
				to = append(to, m)
			}
		}
		return to, nil
	}
	pattern := regexp.QuoteMeta(part)
	arch := `(?P<arch>` + archWords + `)`
	if !variants {
		arch += `(?:[_-]?(?P<variant>` + variantWords + `))?`
	}
	for word, with := range map[string]string{"os": `(?P<os>` + osWords + `)`, "arch": arch, "variant": `(?P<variant>` + variantWords + `|)`} {
		pattern = strings.ReplaceAll(pattern, `\{`+word+`\}`, with)
	}
	if last {
		pattern += `(?:\.exe)?`
	}
	re, err := regexp.Compile(`(?i)^` + pattern + `$`)
	if err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "template %s: %w", oci.Quote(part), err)
	}
	for _, m := range from {
		list, err := os.ReadDir(m.path)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			if next, ok := m.with(re, d.Name()); ok {
				to = append(to, next)
			}
		}
	}
	return to, nil
}

// with is the match with one more name; a word must stand for the same wherever
// it is.
func (m match) with(re *regexp.Regexp, name string) (match, bool) {
	found := re.FindStringSubmatch(name)
	if found == nil {
		return m, false
	}
	m.path = below(m.path, name)
	for n, word := range re.SubexpNames() {
		for _, old := range []struct {
			name string
			at   *string
		}{{"os", &m.os}, {"arch", &m.arch}, {"variant", &m.variant}} {
			if word != old.name || found[n] == "" {
				continue
			}
			if *old.at != "" && !strings.EqualFold(*old.at, found[n]) {
				return m, false
			}
			*old.at = found[n]
		}
	}
	return m, true
}

// inBraces is a word of a template, or one that was meant to be.
var inBraces = regexp.MustCompile(`\{[A-Za-z_.]+\}`)

// noneFound is the error for a template that means nothing.
func noneFound(template string) error {
	for _, word := range inBraces.FindAllString(template, -1) {
		if word != "{os}" && word != "{arch}" && word != "{variant}" {
			return oci.Errorf(oci.ErrNotFound, "%s: there is no such file, and %s is no word of a template: those are {os}, {arch} and {variant}", template, word)
		}
	}
	return oci.Errorf(oci.ErrNotFound, "%s: there is no file or directory of that name for any platform", template)
}

// withImages drops what is for systems that no image is for, and says so.
func withImages(list []source, say func(format string, args ...any)) []source {
	return slices.DeleteFunc(list, func(s source) bool {
		if hasImages(s.platform.OS) {
			return false
		}
		say("left out %s: there are no images for %s", s.path, s.platform.OS)
		return true
	})
}
