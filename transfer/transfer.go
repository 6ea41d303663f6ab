// SPDX-License-Identifier: Apache-2.0

// Package transfer plans and runs the move of graphs from sources to sinks.
//
// [Make] finds out what has to be done and says so as data: the steps of a
// [Plan]. [Plan.Run] does it: children before parents, tags last, every blob
// once a host however many images of the run have it.
package transfer

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/dray-tools/dray/oci"
)

// A Job is one image, index or artifact to be copied.
type Job struct {
	From oci.Source // comparable, as To
	Name string     // what to resolve at From: a tag or a digest
	To   oci.Store
	Tag  string     // what it will be called at To; "": by its digest alone
	Want oci.Digest // what it must be; "": anything
	// Expect is what Tag must mean at To until it means what is copied: ErrBusy if
	// it means something else when the plan is made, or, as far as To can tell (see
	// oci.Mover), when it is written. "": anything.
	Expect oci.Digest
	// Sent tells of content that the caller has just sent to To itself: its step is
	// a Put that is done. nil: of none.
	Sent func(oci.Digest) bool
	// Along are manifests of From that go along and are there before the tag is:
	// what refers to the image, by its subject or by a tag of its own.
	Along []Companion
	// AlongKnown says that all of Along is there if Tag means what is copied.
	AlongKnown bool
	// Single says that To holds images, no indexes: of an index goes the image
	// of the one platform in it, or of the one that Options.Platforms chooses.
	Single bool

	// What the user calls source and destination, for the plan and errors.
	FromRef, ToRef string
}

// A Companion is a manifest that goes along with an image.
type Companion struct {
	Descriptor oci.Descriptor
	Tag        string // at the destination; "": none
}

// Options choose what is copied and how. The zero value copies each root whole.
type Options struct {
	// Platforms keeps only these children of an index, which makes a smaller
	// index with a digest of its own. An image that is not an index must be for
	// one of them.
	Platforms []oci.Platform
	// Referrers brings along what refers to the images: the manifests whose
	// subject they are, and the tags sha256-….sig, .att and .sbom.
	Referrers bool
	// NoClobber leaves a tag that exists with other content alone; see Image.Kept.
	NoClobber bool
	// Foreign copies layers that are meant to be fetched from their URLs too,
	// with the manifests that are not at the destination yet.
	Foreign bool
	// KeepGoing does the other jobs when one fails.
	KeepGoing bool
	// Jobs is the number of large blobs (of 1 MiB and more) that move at a time
	// from or to one host, next to four times as many small requests; 0: 16.
	Jobs int
	// Progress is told of every step that begins, moves bytes or ends. It is
	// called by many goroutines and must not block.
	Progress func(Event)
}

// Op is what a step does.
type Op string

// The steps of a plan.
const (
	Skip  Op = "skip"  // nothing: it is there, or it stays where its URLs say
	Mount Op = "mount" // another repository of the host has it, or will by then
	Put   Op = "put"   // the bytes move
	Tag   Op = "tag"   // a name is given, together with the manifest's bytes
)

// A Step is one thing that will be done for an image.
type Step struct {
	Op        Op         `json:"op"`
	Image     int        `json:"image"` // index into Plan.Images
	MediaType string     `json:"mediaType,omitempty"`
	Digest    oci.Digest `json:"digest"`
	Size      int64      `json:"size"`
	Left      int64      `json:"left,omitempty"` // bytes of it that an interrupted run has moved
	From      string     `json:"from,omitempty"` // of a mount: the repository
	Name      string     `json:"name,omitempty"` // of a tag
	Why       string     `json:"why,omitempty"`  // of a skip: "exists", "unchanged", "foreign", "kept"; of a put that is done: "sent"
}

// An Image is one root of a plan: a job's own, or one that came along with it.
type Image struct {
	From   string     `json:"from"`
	To     string     `json:"to"`
	Digest oci.Digest `json:"digest"`
	// Platforms tells what is in it, as far as the index says so.
	Platforms []string `json:"platforms,omitempty"`
	// New says that the digest is not that of the source, because platforms were
	// left out; Source is the digest there.
	New    bool       `json:"new,omitempty"`
	Source oci.Digest `json:"source,omitempty"`
	// Unchanged: the destination has it under this name.
	Unchanged bool `json:"unchanged,omitempty"`
	// Kept: the destination has something else under this name, and NoClobber
	// says to leave it.
	Kept bool `json:"kept,omitempty"`
	// Notes say what was left out or guessed.
	Notes []string `json:"notes,omitempty"`
	// Err is why the image could not be planned or copied.
	Err error `json:"-"`
}

// Totals add up the steps.
type Totals struct {
	Images    int   `json:"images"`
	Unchanged int   `json:"unchanged"`
	Skipped   int   `json:"skipped"` // blobs and manifests
	Mounted   int   `json:"mounted"` // blobs
	Put       int   `json:"put"`     // blobs and manifests
	Bytes     int64 `json:"bytes"`   // that move
	Saved     int64 `json:"saved"`   // bytes that need not move, as mounted or there, also in part
}

// A Plan is what a transfer will do. Images and Steps are for reading.
type Plan struct {
	Images []*Image `json:"images"`
	Steps  []*Step  `json:"steps"`

	o       Options
	tasks   []*task
	ran     atomic.Bool
	filling sync.Mutex
	moved   atomic.Int64
}

// Totals adds up the plan.
func (p *Plan) Totals() Totals {
	t := Totals{Images: len(p.Images)}
	for _, i := range p.Images {
		if i.Unchanged {
			t.Unchanged++
		}
	}
	for _, s := range p.Steps {
		switch s.Op {
		case Skip:
			if s.Why == foreign { // it is not there, and need not be
				continue
			}
			t.Skipped++
			if s.Why == exists || s.Why == unchanged {
				t.Saved = add(t.Saved, s.Size)
			}
		case Mount:
			t.Mounted++
			t.Saved = add(t.Saved, s.Size)
		default:
			t.Put++
			t.Bytes = add(t.Bytes, s.Size-s.Left)
			t.Saved = add(t.Saved, s.Left)
		}
	}
	return t
}

// add stops at the largest number: sizes are claims until the bytes are there.
func add(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

// Moved is the number of bytes of blobs that Run has sent so far.
func (p *Plan) Moved() int64 { return p.moved.Load() }

// An EventKind says what happened to a step.
type EventKind int

// What can happen to a step.
const (
	Began EventKind = iota
	Bytes           // some more moved
	Ended           // done as How says, or failed
)

// An Event is progress of a step.
type Event struct {
	Kind EventKind
	Step *Step
	N    int // of Bytes; negative when an attempt is given up and begins anew
	How  oci.How
	Err  error
}
