// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) inspectCommand() *cobra.Command {
	var side dray.Side
	var platform platformFlag
	cmd := &cobra.Command{
		Use:   "inspect REFERENCE",
		Short: "Show what an image is: digest, platforms, sizes, config, referrers",
		Example: `  dray inspect docker.io/library/busybox:1.36
  dray inspect --format json ghcr.io/a/b:1 | jq '.images[].platform'
  dray inspect --format '{{.digest}}' ghcr.io/a/b:1`,
		Args: args(1, 1),
	}
	f := cmd.Flags()
	f.Var(&platform, "platform", "only this platform of an index")
	sideFlags(f, &side, "", "the registry")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		i, err := a.client.Inspect(c.Context(), list[0], side, platform.p)
		if err != nil {
			return err
		}
		if !format.text() {
			return format.print(a.Out, i)
		}
		return printInspection(a.Out, i)
	}
	return cmd
}

// printInspection is one screen for a person.
func printInspection(out io.Writer, i *dray.Inspection) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, brief(printable(value)))
		}
	}
	row("Reference", i.Reference)
	row("Digest", string(i.Digest))
	row("Type", i.MediaType)
	row("Artifact", i.ArtifactType)
	row("Size", size(i.Size))
	printMap(row, "Annotation", i.Annotations)
	if i.Subject != nil {
		row("Subject", string(i.Subject.Digest))
	}
	for _, r := range i.Referrers {
		row("Referrer", string(r.Digest)+"  "+r.ArtifactType)
	}
	if len(i.Images) > 1 {
		fmt.Fprintln(w)
		fmt.Fprintln(w, "PLATFORM\tDIGEST\tLAYERS\tSIZE")
		for _, m := range i.Images {
			name := m.Platform
			if name == "" {
				name = printable(strings.TrimPrefix(m.ArtifactType, "application/"))
			}
			if name == "" {
				name = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", name, m.Digest, len(m.Layers), size(m.Size))
		}
		return w.Flush()
	}
	for _, m := range i.Images {
		row("Platform", m.Platform)
		printConfig(row, m.Config)
		fmt.Fprintln(w)
		fmt.Fprintln(w, "LAYER\tTYPE\tSIZE")
		for _, l := range m.Layers {
			fmt.Fprintf(w, "%s\t%s\t%s\n", l.Digest, printable(l.MediaType[strings.LastIndex(l.MediaType, ".")+1:]), size(l.Size))
		}
	}
	return w.Flush()
}

func printMap(row func(name, value string), name string, m map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		row(name, k+"="+m[k])
	}
}

// printConfig shows what a person looks for in a config.
func printConfig(row func(name, value string), raw []byte) {
	var c struct {
		Created, Author string
		Config          struct {
			User, WorkingDir     string
			Env, Entrypoint, Cmd []string
			Labels               map[string]string
			ExposedPorts         map[string]any
		}
	}
	if json.Unmarshal(raw, &c) != nil {
		return
	}
	list := func(v []string) string {
		if v == nil {
			return ""
		}
		s, _ := json.Marshal(v)
		return string(s)
	}
	if c.Created != "0001-01-01T00:00:00Z" { // Go's way to say that it is not known
		row("Created", c.Created)
	}
	row("Author", c.Author)
	row("User", c.Config.User)
	row("Workdir", c.Config.WorkingDir)
	row("Entrypoint", list(c.Config.Entrypoint))
	row("Cmd", list(c.Config.Cmd))
	for _, e := range c.Config.Env {
		row("Env", e)
	}
	row("Ports", strings.Join(slices.Sorted(maps.Keys(c.Config.ExposedPorts)), " "))
	printMap(row, "Label", c.Config.Labels)
}
