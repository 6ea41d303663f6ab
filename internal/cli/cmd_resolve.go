// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray/kubeyaml"
)

const aboutReferences = `
A reference is a whole value of YAML or JSON that begins with ko:// or dray://.
ko:// goes before the import path of a Go program, or ./ and its directory;
dray:// before a build of dray.yaml, or anything that dray build recognises.
Each is built once and pushed, and REPOSITORY@DIGEST takes its place; names are
those of dray build go, mostly below KO_DOCKER_REPO. All else keeps its bytes:
comments, order, quotes, line ends. If a build fails nothing is %s.`

func (a *app) resolveCommand() *cobra.Command {
	return a.manifestCommands("resolve -f FILE", "Print Kubernetes YAML with references to images that are built for it",
		"Build what references in Kubernetes YAML mean, and print the YAML with the images.\n"+fmt.Sprintf(aboutReferences, "printed"),
		`  KO_DOCKER_REPO=registry.example/apps dray resolve -f config > release.yaml
  dray resolve -R -f config -l app=web --platform all -B -t v1`, "")
}

func (a *app) applyCommand() *cobra.Command {
	return a.manifestCommands("apply -f FILE [-- ARGS]", "Build what Kubernetes YAML refers to, and apply it",
		"Do what dray resolve does, and give the result to kubectl apply with ARGS. The exit\ncode is kubectl's.\n"+fmt.Sprintf(aboutReferences, "applied"),
		`  KO_DOCKER_REPO=registry.example/apps dray apply -f config
  dray apply -R -f config -- --namespace test --server-side`, "apply")
}

func (a *app) createCommand() *cobra.Command {
	return a.manifestCommands("create -f FILE [-- ARGS]", "Build what Kubernetes YAML refers to, and create it",
		"Do what dray resolve does, and give the result to kubectl create with ARGS. The exit\ncode is kubectl's.\n"+fmt.Sprintf(aboutReferences, "created"),
		`  KO_DOCKER_REPO=registry.example/apps dray create -f config/job.yaml`, "create")
}

// manifestCommands is a command on YAML. verb is of kubectl; "": it is printed.
func (a *app) manifestCommands(use, short, long, example, verb string) *cobra.Command {
	m := &manifestFlags{}
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example}
	m.add(cmd.Flags())
	o, g := a.addKinds(cmd)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return besides(verb, usage(c, err)) })
	cmd.RunE = func(c *cobra.Command, list []string) error {
		own, args := afterDash(c, list)
		if len(own) > 0 || verb == "" && len(args) > 0 {
			err := usage(c, fmt.Errorf("%s is no flag: files are given with -f", list[0]))
			if o.edit.dryRun { // -n NAMESPACE was meant
				err = besides(verb, err)
			}
			return err
		}
		kubectl := ""
		if verb != "" && !o.edit.dryRun {
			var err error
			if kubectl, err = findKubectl(); err != nil {
				return err
			}
		}
		files, err := m.read(a, c)
		if err != nil {
			return err
		}
		return a.buildFiles(c, o, g, files, func(yaml []byte) error {
			if verb == "" {
				_, err := a.Out.Write(yaml)
				return err
			}
			return a.pipe(c.Context(), kubectl, yaml, verb, args)
		})
	}
	return cmd
}

// besides adds where flags of kubectl stand, to an error about flags.
func besides(verb string, err error) error {
	if verb == "" {
		return err
	}
	return hinted{err, "flags of kubectl stand behind --, as in dray " + verb + " -f FILE -- --namespace NAME; -n is --dry-run"}
}

// addKinds adds the flags of all kinds of builds.
func (a *app) addKinds(cmd *cobra.Command) (*buildFlags, *given) {
	o, g := &buildFlags{}, &given{}
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	a.addBuildFlags(f, o)
	for _, x := range a.frontends() {
		own := pflag.NewFlagSet("", pflag.ContinueOnError)
		x.add(own)
		group(own, ofKind)
		addOthers(f, own)
	}
	g.record(f)
	left := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.VisitAll(func(fl *pflag.Flag) {
		if fl.Name != "format" && fl.Name != "watch" && fl.Name != "together" { // for which there is one result, or one image
			left.AddFlag(fl)
		}
	})
	addOthers(cmd.Flags(), left)
	cmd.SetUsageFunc(a.buildUsage)
	return o, g
}

// buildFiles builds what files refer to, and gives use their text with the images.
func (a *app) buildFiles(c *cobra.Command, o *buildFlags, g *given, files []*kubeyaml.File, use func(yaml []byte) error) error {
	r := &referring{a: a, c: c, g: g, o: o}
	seen := map[string]bool{}
	for _, f := range files {
		for _, n := range f.Notes {
			a.note("%s", n)
		}
		for _, x := range f.Refs {
			if !seen[x.Text] {
				seen[x.Text] = true
				r.list = append(r.list, &wanted{text: x.Text, at: fmt.Sprintf("%s:%d", f.Name, x.Line)})
			}
		}
	}
	write := func(with map[string]string) error {
		var out bytes.Buffer
		if err := kubeyaml.Write(&out, files, with); err != nil {
			return err
		}
		return use(out.Bytes())
	}
	if len(r.list) > 0 {
		return r.build(write)
	}
	if o.edit.dryRun {
		a.note("there is nothing to build")
		return nil
	}
	return write(nil)
}
