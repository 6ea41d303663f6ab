// SPDX-License-Identifier: Apache-2.0

package oci

import "strings"

// ParsePlatform reads os/arch[/variant][:os.version], as in linux/arm64/v8 or
// windows/amd64:10.0.20348.587, with the spellings that uname and Docker use
// for the same thing brought into the one of the specification (image-spec,
// image-index.md, "platform"). ErrInvalid otherwise.
func ParsePlatform(s string) (Platform, error) {
	name, version, hasVersion := strings.Cut(s, ":")
	parts := strings.Split(strings.ToLower(name), "/")
	ok := len(parts) == 2 || len(parts) == 3
	for _, p := range parts {
		ok = ok && isPlatformPart(p)
	}
	if !ok || hasVersion && !isPlatformPart(strings.ToLower(version)) {
		return Platform{}, Errorf(ErrInvalid, "platform %s: want os/arch[/variant][:os.version]", Quote(s))
	}
	p := Platform{OS: parts[0], Architecture: parts[1], OSVersion: version}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	return NormalizePlatform(p), nil
}

func isPlatformPart(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
}

// NormalizePlatform brings architecture and variant into the spelling of the
// specification, and drops the variants that say nothing: arm64/v8, amd64/v1.
// A plain arm means arm/v7, as Docker reads it.
func NormalizePlatform(p Platform) Platform {
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386", "i686", "x86":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	switch {
	case p.Architecture == "amd64" && p.Variant == "v1":
		p.Variant = ""
	case p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"):
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	case p.Architecture == "arm" && len(p.Variant) == 1:
		p.Variant = "v" + p.Variant
	}
	return p
}

// FormatPlatform writes a platform as ParsePlatform reads it; "unknown" if it
// has no os. What ParsePlatform would not read, as an index can say anything,
// is quoted.
func FormatPlatform(p Platform) string {
	if p.OS == "" {
		return "unknown"
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	if p.OSVersion != "" {
		s += ":" + p.OSVersion
	}
	if _, err := ParsePlatform(s); err != nil {
		return Quote(s)
	}
	return s
}

// MatchPlatform reports whether have is what want asks for: the same os,
// architecture and variant after NormalizePlatform. An os.version is compared
// only if want has one: an equal one, or one that goes on after a dot
// (10.0.20348 matches 10.0.20348.587).
func MatchPlatform(want, have Platform) bool {
	want, have = NormalizePlatform(want), NormalizePlatform(have)
	return want.OS == have.OS && want.Architecture == have.Architecture && want.Variant == have.Variant &&
		(want.OSVersion == "" || want.OSVersion == have.OSVersion || strings.HasPrefix(have.OSVersion, want.OSVersion+"."))
}
