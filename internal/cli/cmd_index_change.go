// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

func (a *app) indexRemoveCommand() *cobra.Command {
	o, what := &editFlags{}, edit.Choice{}
	cmd := &cobra.Command{
		Use:     "remove INDEX [REF...]",
		Aliases: []string{"rm"},
		Short:   "Take images out of an index",
		Long: `Take images out of an index: those of platforms, of digests, and what each REF
means (of a REF that is an index, all its images). Attestations about them go as
well. What stays keeps its bytes. The images themselves stay in the repository.`,
		Example: "  dray index remove ghcr.io/a/b:1 --platform linux/386,windows",
		Args:    args(1, -1),
	}
	f := cmd.Flags()
	addChoice(f, &what, "take out")
	addIndexEdit(f, o)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if len(what.Platforms)+len(what.Digests)+len(list) == 1 {
			return usage(c, errors.New("nothing to take out: want --platform, --digest or REF"))
		}
		return a.edit(c, o, func() (*dray.Edited, error) {
			e, err := a.client.RemoveFromIndex(c.Context(), list[0], what, list[1:], o.EditOptions)
			return e, indexHint(err, false)
		}, nil)
	}
	return cmd
}

func (a *app) indexFilterCommand() *cobra.Command {
	o, what := &editFlags{}, edit.Choice{}
	cmd := &cobra.Command{
		Use:   "filter INDEX",
		Short: "Keep some platforms of an index",
		Long: `Keep the images of some platforms, and the attestations about them; the rest is
taken out of the index. What stays keeps its bytes. A platform that the index
does not have is an error, and an index without images is never written.`,
		Example: `  dray index filter ghcr.io/a/b:1 --platform linux/amd64,linux/arm64 -t ghcr.io/a/b:servers
  dray index filter ghcr.io/a/b:1 --platform 'linux/arm/*' --drop-attestations`,
		Args: args(1, 1),
	}
	f := cmd.Flags()
	addChoice(f, &what, "keep")
	f.BoolVar(&what.Unknown, "keep-unknown", false, "keep what has no platform, too")
	f.BoolVar(&what.Bare, "drop-attestations", false, "keep no attestations; without --platform of all images")
	addIndexEdit(f, o)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if what.All = len(what.Platforms)+len(what.Digests) == 0; what.All && !what.Bare {
			return usage(c, errors.New("want --platform, --digest or --drop-attestations"))
		}
		return a.edit(c, o, func() (*dray.Edited, error) {
			e, err := a.client.FilterIndex(c.Context(), list[0], what, o.EditOptions)
			return e, indexHint(err, false)
		}, nil)
	}
	return cmd
}

func (a *app) indexAnnotateCommand() *cobra.Command {
	o, what, changes := &editFlags{}, edit.Choice{}, &annotateFlags{}
	cmd := &cobra.Command{
		Use:   "annotate INDEX",
		Short: "Change annotations and platforms in an index",
		Long: `Change what an index says: its own annotations, or with --platform, --digest or
--all the annotations and platforms of the entries that are chosen. An annotation
that begins with index: is the index's in any case, one that begins with
manifest-descriptor: that of entries, of all if none are chosen. The images stay
as they are; dray mutate changes them.`,
		Example: `  dray index annotate ghcr.io/a/b:1 -a org.opencontainers.image.vendor=A
  dray index annotate ghcr.io/a/b:1 --platform linux/arm64 -a note=tested
  dray index annotate ghcr.io/a/b:1 --digest sha256:… --os-version 10.0.20348.1`,
		Args: args(1, 1),
	}
	f := cmd.Flags()
	addChoice(f, &what, "change")
	f.BoolVar(&what.All, "all", false, "change the entries of all images")
	changes.addTo(f)
	addIndexEdit(f, o)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if err := changes.settle(&what); err != nil {
			return usage(c, err)
		}
		return a.edit(c, o, func() (*dray.Edited, error) {
			e, err := a.client.AnnotateIndex(c.Context(), list[0], what, changes.IndexChanges, o.EditOptions)
			return e, indexHint(err, false)
		}, nil)
	}
	return cmd
}

func addChoice(f *pflag.FlagSet, what *edit.Choice, verb string) {
	f.Var(patternsFlag{&what.Platforms}, "platform", verb+" the images of these platforms; linux is all of Linux, linux/arm/* all variants")
	f.Var(digestsFlag{&what.Digests}, "digest", verb+" the entry with this digest")
}

func addIndexEdit(f *pflag.FlagSet, o *editFlags) {
	addEditFlags(f, o, "INDEX")
	f.Lookup("media-types").Usage = "make it an index of `FAMILY`: oci or docker; what it lists stays as it is"
}

// annotateFlags are the changes that index annotate makes.
type annotateFlags struct {
	edit.IndexChanges
	set    []func(entries bool) // annotations without a scope
	asked  bool
	spread bool // annotations of entries, whichever they are
}

func (m *annotateFlags) addTo(f *pflag.FlagSet) {
	f.VarP(actFlag(func(s string) error {
		scope, rest := cutScope(s)
		key, value, err := keyValue(rest)
		if err != nil {
			return err
		}
		return m.add(scope, rest != s, func(entries bool) {
			to := &m.Annotations
			if entries {
				to = &m.EntryAnnotations
			}
			if *to == nil {
				*to = map[string]string{}
			}
			(*to)[key] = value
		})
	}), "annotation", "a", "set an annotation, `[SCOPE:]KEY=VALUE`")
	f.Var(actFlag(func(s string) error {
		scope, key := cutScope(s)
		return m.add(scope, key != s, func(entries bool) {
			if entries {
				m.EntryRemove = append(m.EntryRemove, key)
			} else {
				m.Remove = append(m.Remove, key)
			}
		})
	}), "remove-annotation", "take out an annotation, `[SCOPE:]KEY`")
	f.Var(actFlag(func(s string) error {
		p, err := edit.ParsePlatform(s)
		m.IndexChanges.Platform = &p
		return err
	}), "set-platform", "let entries say `os/arch[/variant][:os.version][+feature]`")
	f.Var(actFlag(func(s string) error { m.Variant = &s; return nil }), "variant", "let entries say the `VARIANT` of the architecture; '' for none")
	f.Var(actFlag(func(s string) error { m.OSVersion = &s; return nil }), "os-version", "let entries say the `VERSION` of the operating system; '' for none")
	f.Var(actFlag(func(s string) error {
		if m.OSFeatures == nil {
			m.OSFeatures = &[]string{}
		}
		if s != "" {
			*m.OSFeatures = append(*m.OSFeatures, s)
		}
		return nil
	}), "os-feature", "let entries say the `FEATURE` of the operating system (several allowed); '' for none")
	f.BoolVar(&m.Duplicates, "allow-duplicates", false, "allow several images for one platform")
	f.BoolVar(&m.Force, "force", false, "allow platforms that contradict the images' configs")
}

func (m *annotateFlags) add(scope string, scoped bool, do func(entries bool)) error {
	m.asked = true
	switch {
	case !scoped:
		m.set = append(m.set, do)
	case scope == "index":
		do(false)
	case scope == "manifest-descriptor":
		m.spread = true
		do(true)
	default:
		return fmt.Errorf("annotation of %s: want index or manifest-descriptor; dray mutate changes images", oci.Quote(scope))
	}
	return nil
}

// settle decides what annotations without a scope are about.
func (m *annotateFlags) settle(what *edit.Choice) error {
	chosen := what.All || len(what.Platforms)+len(what.Digests) > 0
	for _, do := range m.set {
		do(chosen)
	}
	m.set = nil
	switch {
	case !m.asked && !m.Platforms():
		return errors.New("nothing to change")
	case m.Platforms() && !chosen:
		return errors.New("of which entries? want --platform, --digest or --all")
	}
	what.All = what.All || m.spread && !chosen
	return nil
}
