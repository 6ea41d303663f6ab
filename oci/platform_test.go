// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
)

func TestParsePlatform(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "Linux/X86_64": "linux/amd64", "linux/x86-64": "linux/amd64", "linux/amd64/v1": "linux/amd64", "linux/amd64/v3": "linux/amd64/v3",
		"linux/arm": "linux/arm/v7", "linux/arm/7": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6", "linux/armhf": "linux/arm/v7", "linux/armel": "linux/arm/v6",
		"linux/aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/arm64/8": "linux/arm64", "linux/arm64/v9": "linux/arm64/v9",
		"linux/i386": "linux/386", "linux/i686": "linux/386", "macos/arm64": "darwin/arm64", "linux/ppc64le": "linux/ppc64le",
		"windows/amd64:10.0.20348.587": "windows/amd64:10.0.20348.587", "windows/amd64/v2:1": "windows/amd64/v2:1", "unknown/unknown": "unknown/unknown",
		"": "", "linux": "", "/": "", "linux/": "", "/amd64": "", "linux/a/b/c": "", "linux/amd64:": "", "linux/am d64": "", "linux/amd64:1:2": "", "linux/amd64:\x1b[1m": "", "línux/amd64": "",
	} {
		p, err := oci.ParsePlatform(in)
		if want == "" {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%q: %v, %v", in, p, err)
			}
			continue
		}
		if got := oci.FormatPlatform(p); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
		if again, err := oci.ParsePlatform(want); err != nil || !oci.MatchPlatform(p, again) || !oci.MatchPlatform(again, p) {
			t.Errorf("%q does not match what it prints", in)
		}
	}
}

func TestMatchPlatform(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want string
		have oci.Platform
		ok   bool
	}{
		{"linux/amd64", oci.Platform{OS: "linux", Architecture: "amd64"}, true},
		{"linux/arm64", oci.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, true},
		{"linux/arm64/v8", oci.Platform{OS: "linux", Architecture: "aarch64"}, true},
		{"linux/arm", oci.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, false},
		{"linux/arm", oci.Platform{OS: "linux", Architecture: "arm", Variant: "7"}, true},
		{"linux/amd64", oci.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}, false},
		{"linux/amd64", oci.Platform{OS: "windows", Architecture: "amd64"}, false},
		{"windows/amd64", oci.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1"}, true},
		{"windows/amd64:10.0.20348", oci.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348.587"}, true},
		{"windows/amd64:10.0.2034", oci.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348.587"}, false},
		{"windows/amd64:10.0.20348.587", oci.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348"}, false},
		{"windows/amd64:10", oci.Platform{OS: "windows", Architecture: "amd64"}, false},
	} {
		want, err := oci.ParsePlatform(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if oci.MatchPlatform(want, c.have) != c.ok {
			t.Errorf("%s and %+v: want %v", c.want, c.have, c.ok)
		}
	}
}

func TestBad_026_PlatformText(t *testing.T) {
	t.Parallel()
	for _, p := range []oci.Platform{{OS: "\x1b[31m"}, {OS: "linux", Architecture: "a\nb"}, {OS: "linux", Architecture: "amd64", OSVersion: "\u202e"}, {OS: strings.Repeat("x/", 9999)}} {
		if s := oci.FormatPlatform(p); strings.ContainsAny(s, "\x1b\n\u202e") || len(s) > 2000 {
			t.Errorf("%+.99q prints as %.99q", p, s)
		}
	}
	if s := oci.FormatPlatform(oci.Platform{}); s != "unknown" {
		t.Errorf("nothing prints as %s", s)
	}
}

func FuzzPlatform(f *testing.F) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "windows/amd64:10.0.20348.587", "a/b/c:d", "linux/arm/x", "/", "linux/armhf/v6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := oci.ParsePlatform(s)
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := oci.ParsePlatform(oci.FormatPlatform(p))
		if err != nil || oci.FormatPlatform(again) != oci.FormatPlatform(p) || !oci.MatchPlatform(p, again) || !oci.MatchPlatform(p, p) {
			t.Fatalf("%q: %+v, then %+v, %v", s, p, again, err)
		}
		if n := oci.NormalizePlatform(p); oci.FormatPlatform(oci.NormalizePlatform(n)) != oci.FormatPlatform(n) {
			t.Fatalf("%q does not settle", s)
		}
	})
}
