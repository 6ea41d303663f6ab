// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// sideFlags are how the registry of a reference is reached. prefix is "", or
// "from-" or "to-" where a command has two.
func sideFlags(f *pflag.FlagSet, s *dray.Side, prefix, what string) {
	f.BoolVar(&s.PlainHTTP, prefix+"plain-http", false, "speak http to "+what+" (loopback needs no flag)")
	f.BoolVar(&s.InsecureTLS, prefix+"insecure-tls", false, "do not verify the certificate of "+what)
}

// platformFlag is a platform, or none.
type platformFlag struct{ p *oci.Platform }

func (p *platformFlag) String() string {
	if p.p == nil {
		return ""
	}
	return oci.FormatPlatform(*p.p)
}
func (*platformFlag) Type() string { return "os/arch[/variant][:os.version]" }
func (p *platformFlag) Set(s string) error {
	x, err := oci.ParsePlatform(s)
	p.p = &x
	return err
}

// platformsFlag is any number of platforms, repeated or with commas between.
type platformsFlag struct{ list *[]oci.Platform }

func (p platformsFlag) String() string { return "" }
func (platformsFlag) Type() string     { return "os/arch[/variant]" }
func (p platformsFlag) Set(s string) error {
	for _, one := range strings.Split(s, ",") {
		x, err := oci.ParsePlatform(one)
		if err != nil {
			return err
		}
		*p.list = append(*p.list, x)
	}
	return nil
}

// packingFlag is a compression, or none.
type packingFlag struct{ p **layer.Packing }

func (p packingFlag) String() string { return "" }
func (packingFlag) Type() string     { return "METHOD" }
func (p packingFlag) Set(s string) error {
	x, err := layer.ParsePacking(s)
	*p.p = &x
	return err
}

// formatFlag is how a result is printed: text for people by default, "json",
// or a Go template over the same value that json shows.
type formatFlag struct {
	name string
	tmpl *template.Template
}

func (f *formatFlag) String() string { return f.name }
func (*formatFlag) Type() string     { return "json|TEMPLATE" }
func (f *formatFlag) Set(s string) error {
	f.name = s
	if s == "json" || s == "text" {
		return nil
	}
	if !strings.Contains(s, "{{") {
		return oci.Errorf(oci.ErrInvalid, "want json or a Go template")
	}
	var err error
	f.tmpl, err = template.New("format").Funcs(template.FuncMap{"json": toJSON}).Parse(s)
	return err
}

func addFormat(f *pflag.FlagSet) *formatFlag {
	v := &formatFlag{}
	f.Var(v, "format", "print json, or a Go template")
	return v
}

func toJSON(v any) (string, error) {
	raw, err := json.Marshal(v)
	return string(raw), err
}

// text reports whether the result is for a person.
func (f *formatFlag) text() bool { return f.name == "" || f.name == "text" }

// print writes a value as the format says; a template sees the members by the
// names that json has.
func (f *formatFlag) print(w io.Writer, v any) error {
	if f.tmpl == nil {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		_, err := io.WriteString(w, escapeJSON(out.String()))
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var generic any
	if err := json.Unmarshal(raw, &generic); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := f.tmpl.Execute(&out, generic); err != nil {
		return oci.Errorf(oci.ErrInvalid, "%w", err)
	}
	if bytes.Contains(out.Bytes(), []byte("<no value>")) { // text/template has an error for it only where it would forbid {{with .x}} too
		return oci.Errorf(oci.ErrInvalid, "template %s prints what is not there; --format json shows what is", oci.Quote(f.name))
	}
	text := out.String()
	if isTerminal(w) {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = printable(lines[i])
		}
		text = strings.Join(lines, "\n")
	}
	_, err = io.WriteString(w, text+"\n")
	return err
}

// escapeJSON writes what a terminal could act on as \uXXXX. In JSON such
// characters are only in strings, so the document says the same.
func escapeJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
