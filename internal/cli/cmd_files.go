// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) filesCommand() *cobra.Command {
	var side dray.Side
	var platform platformFlag
	var o dray.FilesOptions
	var layers bool
	cmd := &cobra.Command{
		Use:   "files IMAGE [PATH]",
		Short: "List the files of an image, as ls -l does",
		Long: `List what is in a directory of an image (the root if there is no PATH), or one
file: mode, owner, size, time in UTC, path. Only layers are read; of a layer in
the eStargz or zstd:chunked format, which has a table of contents, only that. A
table of contents is believed if the manifest has its digest; validate compares
it with the layer. A link at the end of PATH is shown itself, or with a slash
behind it followed. --format json prints an object a line; layers count from 1,
the lowest.`,
		Example: `  dray files busybox:1.36 /etc
  dray files -R --layers ghcr.io/a/b:1
  dray files -R --format '{{.path}}' ghcr.io/a/b:1 /usr/lib/`,
		Args: args(1, 2),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Recursive, "recursive", "R", false, "list all below a directory")
	f.BoolVar(&layers, "layers", false, "show the layer that each is from, 1 the lowest")
	f.Var(&platform, "platform", "this platform of an index")
	sideFlags(f, &side, "", "the registry")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		path := "/"
		if len(list) == 2 {
			path = list[1]
		}
		w := bufio.NewWriter(a.Out)
		for f, err := range a.client.Files(c.Context(), list[0], side, platform.p, path, o) {
			if err == nil {
				err = printFile(w, f, format, layers)
			}
			if err != nil {
				return err
			}
		}
		return w.Flush()
	}
	return cmd
}

// printFile writes a line for a file.
func printFile(w io.Writer, f dray.FileInfo, format *formatFlag, layers bool) error {
	switch {
	case format.tmpl != nil:
		return format.print(w, f)
	case !format.text():
		line, err := toJSON(f)
		if err == nil {
			_, err = io.WriteString(w, escapeJSON(line+"\n"))
		}
		return err
	}
	line := &strings.Builder{}
	if layers {
		fmt.Fprintf(line, "%3d ", f.Layer)
	}
	size := f.Device
	if size == "" {
		size = strconv.FormatInt(f.Size, 10)
	}
	fmt.Fprintf(line, "%s %9s %10s %s %s", f.Mode, fmt.Sprint(f.UID, ":", f.GID), size, f.ModTime.Format(time.RFC3339), shownName(f.Path))
	if f.Link != "" {
		line.WriteString(" -> " + shownName(f.Link))
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// shownName is a name as it is, or in Go's quotes if a terminal or a reader could
// take it for something else.
func shownName(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if strings.ContainsFunc(s, odd) || strings.HasPrefix(s, `"`) || strings.Contains(s, " -> ") {
		return strconv.Quote(s)
	}
	return s
}

func (a *app) catCommand() *cobra.Command {
	var side dray.Side
	var platform platformFlag
	var artifactType string
	cmd := &cobra.Command{
		Use:   "cat IMAGE PATH... | ARTIFACT",
		Short: "Print files of an image, or what an artifact holds",
		Long: `Print files of an image, byte for byte. The layers are read from the top one
down, and no more of them than it takes; of a layer in the eStargz or
zstd:chunked format only the part that has the file. A table of contents is
believed if the manifest has its digest; validate compares it with the layer.
All that is read is verified: if a layer turns out to be wrong behind the file,
the exit code says so. Links are followed within the image.

Without PATH it is an artifact of one layer, as the bills of materials,
attestations and signatures that dray referrers lists, and that is printed. With
--artifact-type it is the one that belongs to IMAGE. A terminal gets no
characters that it could act on.`,
		Example: `  dray cat busybox:1.36 /etc/passwd
  dray cat --artifact-type application/spdx+json ghcr.io/a/b:1   # the SBOM`,
		Args: args(1, -1),
	}
	cmd.Flags().Var(&platform, "platform", "this platform of an index")
	cmd.Flags().StringVar(&artifactType, "artifact-type", "", "print what the artifact of `TYPE` that belongs to IMAGE holds")
	sideFlags(cmd.Flags(), &side, "", "the registry")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if len(list) == 1 {
			rc, _, err := a.client.Artifact(c.Context(), list[0], side, platform.p, artifactType)
			if err != nil {
				return err
			}
			return a.printText(rc)
		}
		if artifactType != "" {
			return usage(c, errors.New("--artifact-type goes without PATH"))
		}
		return a.client.Cat(c.Context(), list[0], side, platform.p, a.Out, list[1:]...)
	}
	return cmd
}

// printText prints bytes as they are, and closes where they are from. A terminal
// gets text.
func (a *app) printText(rc io.ReadCloser) error {
	defer rc.Close()
	if isTerminal(a.Out) {
		return cleanText(a.Out, rc)
	}
	_, err := io.Copy(a.Out, rc)
	return err
}

// cleanText copies text, with ? for what a terminal could act on.
func cleanText(to io.Writer, from io.Reader) error {
	in, out := bufio.NewReader(from), bufio.NewWriter(to)
	for {
		r, _, err := in.ReadRune()
		switch {
		case err == io.EOF:
			return out.Flush()
		case err != nil:
			return errors.Join(err, out.Flush())
		case r != '\n' && r != '\t' && !unicode.IsPrint(r):
			r = '?'
		}
		if _, err := out.WriteRune(r); err != nil {
			return err
		}
	}
}
