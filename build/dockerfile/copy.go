// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"context"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/oci"
)

func (s *stage) copy(ctx context.Context, c *command, i *instructions.CopyCommand) error {
	spec := place.Spec{Chown: i.Chown, Chmod: i.Chmod, Link: i.Link, Parents: i.Parents, Exclude: i.ExcludePatterns}
	return s.place(ctx, c, spec, i.SourcesAndDest)
}

func (s *stage) add(ctx context.Context, c *command, i *instructions.AddCommand) error {
	spec := place.Spec{Add: true, Chown: i.Chown, Chmod: i.Chmod, Link: i.Link, Exclude: i.ExcludePatterns, Checksum: i.Checksum}
	if i.Unpack != nil {
		spec.Unpack, spec.UnpackSet = *i.Unpack, true
	}
	spec.KeepGit = i.KeepGitDir != nil && *i.KeepGitDir
	return s.place(ctx, c, spec, i.SourcesAndDest)
}

// place puts files on the stack.
func (s *stage) place(ctx context.Context, c *command, spec place.Spec, what instructions.SourcesAndDest) error {
	dest := what.DestPath
	if dest == "." || dest == "" {
		dest = "./"
	}
	to, err := s.path(s.workdir, dest, true)
	if err != nil {
		return err
	}
	if strings.HasSuffix(to, "/.") {
		to = to[:len(to)-1]
	}
	spec.Sources, spec.Dest, spec.At = what.SourcePaths, to, c.at()
	spec.Windows = s.windows()
	spec.Link = spec.Link || spec.Windows // nothing of a base of Windows is read
	for _, f := range what.SourceContents {
		spec.Inline = append(spec.Inline, place.File{Name: f.Path, Data: []byte(f.Data)})
	}
	if len(spec.Sources) > 0 {
		if spec.From, err = s.files(c); err != nil {
			return err
		}
	}
	s.lintIgnored(c, spec.Sources)
	if s.dry {
		return nil
	}
	if err := s.tell(); err != nil {
		return err
	}
	return s.plan.set.Add(ctx, s.e, s.stack, spec, copied(spec, what.DestPath))
}

// copied is the line of history that BuildKit writes, but for passwords and
// queries of addresses.
func copied(s place.Spec, dest string) string {
	words := []string{"COPY"}
	if s.Add {
		words[0] = "ADD"
	}
	if s.Parents {
		words = append(words, "--parents")
	}
	if s.Chown != "" {
		words = append(words, "--chown="+s.Chown)
	}
	if s.Chmod != "" {
		words = append(words, "--chmod="+s.Chmod)
	}
	for _, src := range s.Sources {
		words = append(words, place.Discreet(src))
	}
	for _, f := range s.Inline {
		words = append(words, "<<"+f.Name)
	}
	return strings.Join(append(words, dest, "# buildkit"), " ")
}

// files are where a command takes files from.
func (s *stage) files(c *command) (place.Source, error) {
	switch {
	case c.from == nil && s.context == nil:
		for _, src := range sources(c) {
			if !place.IsRemote(src) {
				return nil, oci.Errorf(oci.ErrInvalid, "%s: there is no context to take it from", oci.Quote(src))
			}
		}
		return nil, nil
	case c.from == nil:
		return s.context, nil
	case c.from.other != nil && c.from.index < 0:
		return c.from.other.source, nil
	}
	return place.Stack(c.from.stack), nil
}

func sources(c *command) []string {
	switch i := c.Command.(type) {
	case *instructions.CopyCommand:
		return i.SourcePaths
	case *instructions.AddCommand:
		return i.SourcePaths
	}
	return nil
}

// fill puts the directory on the stack that a stage begins with.
func (s *stage) fill(ctx context.Context) error {
	if s.dry {
		return nil
	}
	spec := place.Spec{Sources: []string{"."}, Dest: "/", From: s.other.source, At: s.at(), Windows: s.windows(), Link: true}
	return s.plan.set.Add(ctx, s.e, s.stack, spec, "FROM "+s.other.name+" # buildkit")
}
