// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/check"
	"github.com/dray-tools/dray/oci"
)

func (a *app) validateCommand() *cobra.Command {
	var side dray.Side
	var platform platformFlag
	var o check.Options
	cmd := &cobra.Command{
		Use:   "validate REFERENCE",
		Short: "Check an image down to the files in its layers",
		Long: `Check all that a reference leads to: that every manifest and blob is there and
matches its digest and size, that configs fit their manifests and layers, and
that layers hold no unsafe or ambiguous paths, and what their tables of contents
say, if they have any. Each blob is read once. Findings are printed one a line;
with an error among them the exit code is 5.`,
		Example: `  dray validate ghcr.io/a/b:1
  dray validate --fast oci:dir:1
  dray validate --format json ghcr.io/a/b:1 | jq '.findings[].code'`,
		Args: args(1, 1),
	}
	f := cmd.Flags()
	f.BoolVar(&o.Fast, "fast", false, "ask only whether blobs are there, with their sizes; read no layer")
	f.Var(&platform, "platform", "only this platform of an index")
	sideFlags(f, &side, "", "the registry")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		stop := a.showReading(&o)
		v, err := a.client.Validate(c.Context(), list[0], side, platform.p, o)
		stop()
		if err != nil {
			return err
		}
		if format.text() {
			err = printValidation(a.Out, v, o.Fast)
		} else {
			err = format.print(a.Out, v)
		}
		if n := check.Errors(v.Findings); n > 0 && err == nil {
			err = hinted{oci.Errorf(oci.ErrCorrupt, "%s: %s found", v.Reference, count(n, "error")), "a copy from a good place mends what is missing or corrupt; the rest is for who built it"}
		}
		return err
	}
	return cmd
}

// showReading shows on a terminal, until stop, how much has been read.
func (a *app) showReading(o *check.Options) (stop func()) {
	f, ok := a.Err.(*os.File)
	if !ok || a.quiet || !isTerminal(f) || a.Getenv("TERM") == "dumb" {
		return func() {}
	}
	var read atomic.Int64
	o.Read = read.Store
	began := time.Now()
	b := &bars{p: mpb.New(mpb.WithOutput(f), mpb.WithRefreshRate(120*time.Millisecond))}
	b.total = b.p.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
		n := read.Load()
		return fmt.Sprintf("validate  %s  %s/s", size(n), size(int64(float64(n)/max(time.Since(began).Seconds(), 0.1))))
	})))
	a.bars = b
	return func() {
		a.bars = nil
		b.stop()
	}
}

// printValidation prints a line for each finding, and one that says what was
// checked if there is no error among them.
func printValidation(out io.Writer, v *dray.Validation, fast bool) error {
	for _, f := range v.Findings {
		words := []string{string(f.Severity), string(f.Digest)}
		if f.Platform != "" {
			words = append(words, f.Platform)
		}
		if f.Layer > 0 {
			words = append(words, fmt.Sprintf("layer %d", f.Layer))
		}
		line := strings.Join(words, " ") + ": "
		if f.Path != "" {
			line += oci.Quote(f.Path) + " "
		}
		fmt.Fprintln(out, printable(line+brief(f.Text)))
	}
	if check.Errors(v.Findings) > 0 {
		return nil
	}
	s, read := v.Checked, "read"
	if fast {
		read = "read, layers only asked for"
	}
	line := "ok: " + count(s.Images, "image") + ", " + count(s.Layers, "layer")
	if s.Artifacts > 0 {
		line += ", " + count(s.Artifacts, "artifact")
	}
	_, err := fmt.Fprintf(out, "%s, %s %s\n", line, size(s.Bytes), read)
	return err
}
