// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dray-tools/dray/compare"
)

var signs = map[compare.Op]string{compare.Added: "+", compare.Removed: "-", compare.Changed: "~"}

// A reportPrinter prints a title in front of the first line below it.
type reportPrinter struct {
	w     *bufio.Writer
	title string
}

func printReport(out io.Writer, r *compare.Report) error {
	p := &reportPrinter{w: bufio.NewWriter(out)}
	p.changes("index", r.Manifest)
	for _, i := range r.Images {
		if i.Op != compare.Changed {
			p.section("platforms")
			p.line(i.Op, i.Platform, string(i.A+i.B))
			continue
		}
		p.image(i)
	}
	return p.w.Flush()
}

func (p *reportPrinter) section(title string) {
	if p.title != title {
		if p.title != "" {
			fmt.Fprintln(p.w)
		}
		fmt.Fprintln(p.w, printable(title)+":")
	}
	p.title = title
}

// line prints what happened to what, and details.
func (p *reportPrinter) line(op compare.Op, what string, details ...string) {
	details = slices.DeleteFunc(details, func(s string) bool { return s == "" })
	fmt.Fprintln(p.w, strings.TrimRight(signs[op]+" "+shown(what)+"  "+strings.Join(details, "  "), " "))
}

// shown makes text from an image one word of a line.
func shown(s string) string {
	if clean := printable(brief(s)); clean == s && strings.TrimSpace(s) == s {
		return s
	}
	return quoted(s)
}

func quoted(s string) string { return printable(fmt.Sprintf("%q", brief(s))) }

func (p *reportPrinter) image(i compare.Image) {
	in := ""
	if i.Platform != "" {
		in = " of " + i.Platform
	}
	p.changes("manifest"+in, i.Manifest)
	p.changes("config"+in, i.Config)
	for _, l := range i.Layers {
		p.section("layers" + in)
		p.layer(l)
	}
	for _, k := range i.Packages {
		p.section("packages" + in)
		p.line(k.Op, k.Name, fromTo(k.A, k.B), k.Arch)
	}
	for _, f := range i.Files {
		p.section("files" + in)
		p.file(f)
	}
	for _, n := range i.Notes {
		p.section("not compared" + in)
		fmt.Fprintln(p.w, "  "+printable(n))
	}
}

func (p *reportPrinter) changes(title string, list []compare.Change) {
	for _, c := range list {
		p.section(title)
		p.line(c.Op, c.Path, fromTo(shown(c.A), shown(c.B)))
	}
}

func fromTo(a, b string) string {
	switch {
	case a == "" || b == "":
		return a + b
	case a == b:
		return ""
	}
	return a + " → " + b
}

func (p *reportPrinter) layer(l compare.LayerChange) {
	if l.Op == compare.Changed {
		p.line(l.Op, fmt.Sprint(l.A.Number), string(l.A.Digest)+" → "+string(l.B.Digest), fromTo(size(l.A.Size), size(l.B.Size)), "packed in another way")
		return
	}
	x := l.A
	if x == nil {
		x = l.B
	}
	p.line(l.Op, fmt.Sprint(x.Number), string(x.Digest), size(x.Size), shown(x.History))
}

func (p *reportPrinter) file(f compare.FileChange) {
	if f.Op != compare.Changed {
		x := f.A
		if x == nil {
			x = f.B
		}
		what := x.Type
		switch {
		case x.Type == "file":
			what = size(x.Size)
		case x.Target != "":
			what += " to " + shown(x.Target)
		}
		p.line(f.Op, f.Path, what, fmt.Sprintf("layer %d", x.Layer))
		return
	}
	var what []string
	for _, w := range f.What {
		what = append(what, strings.TrimSpace(w+" "+fileDetail(w, f.A, f.B)))
	}
	p.line(f.Op, f.Path, strings.Join(what, ", "), "layer "+fromToSame(f.A.Layer, f.B.Layer))
}

func fromToSame(a, b int) string {
	if a == b {
		return fmt.Sprint(a)
	}
	return fmt.Sprintf("%d → %d", a, b)
}

func fileDetail(what string, a, b *compare.File) string {
	switch what {
	case "type":
		return a.Type + " → " + b.Type
	case "mode":
		return a.Mode + " → " + b.Mode
	case "owner":
		return fmt.Sprintf("%d:%d → %d:%d", a.UID, a.GID, b.UID, b.GID)
	case "size":
		return fromTo(size(a.Size), size(b.Size))
	case "target":
		return shown(a.Target) + " → " + shown(b.Target)
	}
	return ""
}
