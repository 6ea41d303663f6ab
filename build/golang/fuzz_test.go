// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"errors"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/package-url/packageurl-go"

	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/oci"
)

// A configuration is understood, or it is an error with one line.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{koYAML, "", "a", "- a", "defaultPlatforms: [all]", "builds: [{linux_capabilities: {a: b}}]", "a: &a [*a]", "? [a]\n: b\n", "defaultEnv: !!binary x",
		"baseImageOverrides: {A: b, a: c}", "builds:\n- &x {main: ./a}\n- *x\n- {<<: *x}\n", "\xff", "defaultFlags: |\n  -a\n  -b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := golang.ParseConfig(raw)
		if err != nil && (!errors.Is(err, oci.ErrInvalid) || strings.ContainsAny(strings.TrimSpace(err.Error()), "\x1b\x00")) {
			t.Errorf("%v", err)
		}
		if c.AllPlatforms && len(c.Platforms) > 0 {
			t.Errorf("all platforms, and %v", c.Platforms)
		}
		for _, n := range c.Notes {
			if strings.ContainsAny(n, "\n\x1b") {
				t.Errorf("the note %q", n)
			}
		}
	})
}

// Capabilities are an attribute of the kernel's form, or an error.
func FuzzCapabilities(f *testing.F) {
	for _, s := range []string{"", "net_raw", "cap_net_raw,cap_chown=ep", "all=ep cap_kill-e", "=ep", "63=i", "64", "a=b", "=", "cap_kill+", "net_raw=+-=e", "ALL"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := golang.Capabilities(strings.Fields(s)...)
		switch {
		case err != nil && !errors.Is(err, oci.ErrInvalid):
			t.Errorf("%q: %v", s, err)
		case err == nil && got != "" && (len(got) != 20 || got[3] != 2):
			t.Errorf("%q: %x", s, got)
		}
	})
}

// A template ends, and never gives more than it may.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"-X main.v={{.Env.A}}", "{{.Env.B}}", "{{.Git.IsDirty}}", "{{", `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `{{printf "%1000000000d" 1}}`, `{{index .Env "A"}}`,
		`{{with .Env}}{{.A}}{{end}}`, `{{call .Env.A}}`, `{{js .Date}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "range") {
			return // the user may count as far as he likes
		}
		data := map[string]any{"Env": map[string]string{"A": "verysecret"}, "Git": map[string]any{"IsDirty": true}, "Date": "2026-01-02"}
		out, err := golang.Fill([]string{s}, data)
		if err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
		if err == nil && len(out[0]) > 1<<20 {
			t.Errorf("%d bytes", len(out[0]))
		}
		if out, err := golang.Fill([]string{s}, golang.Told(data)); err == nil && strings.Contains(out[0], "verysecret") {
			t.Errorf("%q tells %q", s, out)
		}
	})
}

// Whatever a program says of its modules, package URLs are such, and digests have
// their length.
func FuzzComponents(f *testing.F) {
	if info, ok := debug.ReadBuildInfo(); ok {
		f.Add(info.String())
	}
	f.Add("path\tcommand-line-arguments\nbuild\t-compiler=gc\n")
	f.Add("path\ta/b\nmod\ta\tv1.0.0\th1:x\ndep\tc d\tv1\n=>\t../e\t\t\ndep\th?#%\tv1@2\th1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	f.Fuzz(func(t *testing.T, text string) {
		info, err := debug.ParseBuildInfo(text)
		if err != nil {
			return
		}
		components, materials := golang.Components(info)
		for _, c := range components {
			if p, err := packageurl.FromString(c.PURL); c.PURL != "" && (err != nil || p.Type != "golang") {
				t.Errorf("%q: %v", c.PURL, err)
			}
		}
		for _, m := range materials {
			if len(m.Digest["dirHash1"]) != 64 {
				t.Errorf("%v", m)
			}
		}
	})
}

// What is told of flags that are written down nowhere has no path.
func FuzzToldFlags(f *testing.F) {
	f.Add("-gcflags=all=-trimpath=/home/jane")
	f.Add("-tags=a,b")
	f.Add("--mod=/x")
	f.Add("verysecret")
	f.Fuzz(func(t *testing.T, s string) {
		told := golang.ToldFlags([]string{s})
		name, _, _ := strings.Cut(s, "=")
		if len(told) != 1 || strings.Contains(told[0], "/") && !strings.Contains(name, "/") || strings.Contains(told[0], "verysecret") && !strings.HasPrefix(s, "-") {
			t.Errorf("%q is told as %q", s, told)
		}
	})
}
