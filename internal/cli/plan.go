// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/transfer"
)

// printPlan writes a dry run: for people an image a block and a line a step,
// else the plan as it is.
func (a *app) printPlan(p *transfer.Plan, f *formatFlag) error {
	if !f.text() {
		return errors.Join(append(failures(p), f.print(a.Out, outcome(p, p.Steps)))...)
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	last := -1
	for _, s := range p.Steps {
		if s.Image != last {
			last = s.Image
			i := p.Images[last]
			w.Flush()
			fmt.Fprintf(a.Out, "%s -> %s\n", printable(i.From), printable(i.To))
			if i.New {
				fmt.Fprintf(a.Out, "  a new index of %s; that of the source is %s\n", strings.Join(i.Platforms, ", "), i.Source)
			}
			for _, n := range i.Notes {
				fmt.Fprintln(a.Out, "  "+printable(n))
			}
		}
		note := s.Why
		switch {
		case s.From != "":
			note = "from " + s.From
		case s.Name != "":
			note = "as " + s.Name
		case s.Left > 0:
			note = size(s.Left) + " of it are there"
		}
		bytes := size(s.Size)
		if s.Size == 0 {
			bytes = "-"
		}
		if note != "" {
			note = "\t" + printable(note)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s%s\n", s.Op, noun(s.MediaType), bytes, short(string(s.Digest)), note)
	}
	w.Flush()
	_, err := fmt.Fprintln(a.Out, summary(p, p.Totals(), "to move", "to mount"))
	return errors.Join(append(failures(p), err)...)
}

// failures are the errors of images that could not be planned.
func failures(p *transfer.Plan) (list []error) {
	for _, i := range p.Images {
		if i.Err != nil {
			list = append(list, i.Err)
		}
	}
	return list
}

// An outcomeImage is an image of a plan and why it could not be copied.
type outcomeImage struct {
	*transfer.Image
	Error string `json:"error,omitempty"`
}

// outcome is what --format json shows of a plan, before it has run with its
// steps, and afterwards without them.
func outcome(p *transfer.Plan, steps []*transfer.Step) any {
	images := make([]outcomeImage, len(p.Images))
	for n, i := range p.Images {
		if images[n].Image = i; i.Err != nil {
			images[n].Error = i.Err.Error()
		}
	}
	return struct {
		Images []outcomeImage   `json:"images"`
		Steps  []*transfer.Step `json:"steps,omitempty"`
		Totals transfer.Totals  `json:"totals"`
	}{images, steps, p.Totals()}
}

// noun says what content of a media type is.
func noun(mediaType string) string {
	switch {
	case oci.IsIndex(mediaType):
		return "index"
	case oci.IsManifest(mediaType):
		return "manifest"
	case strings.Contains(mediaType, ".layer.") || strings.Contains(mediaType, ".rootfs."):
		return "layer"
	case oci.IsConfig(mediaType):
		return "config"
	case mediaType == "":
		return "-"
	}
	return "blob"
}

// images counts the images of a plan, and their places if there are more.
func images(p *transfer.Plan) string {
	each := map[string]bool{}
	for _, i := range p.Images {
		each[i.From] = true
	}
	s := count(len(each), "image")
	if n := len(p.Images); n > len(each) {
		s += " to " + count(n, "place")
	}
	return s
}

// summary is one line about a plan, with what was done of it.
func summary(p *transfer.Plan, t transfer.Totals, moved, mounted string) string {
	s := fmt.Sprintf("%s: %s %s (%s)", images(p), size(t.Bytes), moved, count(t.Put, "object"))
	if t.Mounted > 0 {
		s += fmt.Sprintf(", %d %s", t.Mounted, mounted)
	}
	if t.Skipped > 0 {
		s += fmt.Sprintf(", %d there", t.Skipped)
	}
	return s
}

// short is enough of a digest to tell it from others.
func short(digest string) string {
	if len(digest) > 19 {
		return digest[:19]
	}
	return digest
}
