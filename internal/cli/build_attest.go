// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/attest"
)

// attestFlags choose what is attached to images that are built.
type attestFlags struct {
	sbom       []string
	dir        string
	tag        bool
	provenance bool
	again      bool
	set        *pflag.FlagSet
}

func (o *attestFlags) add(f *pflag.FlagSet) {
	o.set = f
	f.StringSliceVar(&o.sbom, "sbom", nil, "attach bills of materials as `FORMAT`: spdx, cyclonedx, or none (several allowed; default spdx if the components are known)")
	f.StringVar(&o.dir, "sbom-dir", "", "write the bills of materials to files in `DIR` too, also without -t")
	f.BoolVar(&o.tag, "sbom-tag", false, "keep bills of materials under tags sha256-….sbom too, as ko and cosign do")
	f.BoolVar(&o.again, "attach-again", false, "look whether all that is attached is there, also where it is remembered (for a day)")
	f.BoolVar(&o.provenance, "provenance", true, "attach how it was built, as an in-toto statement")
}

// attestors are what writes the documents that are asked for.
func (o *attestFlags) attestors(created time.Time) (all []build.Attestor, err error) {
	formats, err := o.formats()
	if err != nil {
		return nil, err
	}
	for _, f := range formats {
		all = append(all, attest.Bill{Format: f, Known: len(o.sbom) == 0, Tag: o.tag, Created: created, Version: dray.Version()})
	}
	if o.provenance {
		all = append(all, attest.Provenance{Version: dray.Version()})
	}
	return all, nil
}

func (o *attestFlags) formats() (all []attest.Format, err error) {
	if len(o.sbom) == 0 && o.set.Changed("sbom") {
		return nil, errors.New("--sbom: want a format: spdx, cyclonedx or none")
	}
	if len(o.sbom) == 0 {
		return []attest.Format{attest.SPDX}, nil
	}
	if slices.Contains(o.sbom, "none") {
		switch {
		case len(o.sbom) > 1:
			return nil, errors.New("--sbom none goes with no other format")
		case o.tag || o.dir != "":
			return nil, errors.New("--sbom none goes with neither --sbom-dir nor --sbom-tag")
		}
		return nil, nil
	}
	for _, s := range o.sbom {
		f, err := attest.ParseFormat(s)
		if err != nil {
			return nil, fmt.Errorf("--sbom: %w, or none", err)
		}
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	if o.tag && len(all) > 1 {
		return nil, errors.New("--sbom-tag keeps one bill of materials of an image: choose one format with --sbom")
	}
	return all, nil
}

// notes say which targets have nothing attached, to those who asked for it.
func (o *attestFlags) notes(b *dray.Built) (all []string) {
	if len(b.Bare) == 0 || !o.set.Changed("sbom") && !o.tag && !o.set.Changed("provenance") {
		return nil
	}
	return []string{strings.Join(b.Bare, ", ") + ": nothing can be attached there"}
}

// save writes bills of materials to files.
func (o *attestFlags) save(b *dray.Built) error {
	if o.dir == "" {
		return nil
	}
	files, from := map[string][]byte{}, map[string]string{}
	for _, i := range b.Builds {
		for _, d := range i.Documents {
			if d.Name == "" || d.ArtifactType == attest.StatementMIME {
				continue
			}
			if old, ok := from[d.Name]; ok && string(files[d.Name]) != string(d.Data) {
				return fmt.Errorf("--sbom-dir: both %s and %s would be %s", old, i.Name, d.Name)
			}
			files[d.Name], from[d.Name] = d.Data, i.Name
		}
	}
	if len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(o.dir, 0o777); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(o.dir, name), data, 0o666); err != nil {
			return err
		}
	}
	return nil
}
