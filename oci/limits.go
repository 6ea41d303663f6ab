// SPDX-License-Identifier: Apache-2.0

package oci

// Limits for what comes from outside. They are far above what real images
// need, and far below what hurts.
const (
	MaxManifest = 4 << 20  // bytes of a manifest or index (distribution-spec asks for at least this)
	MaxConfig   = 8 << 20  // bytes of an image config
	MaxData     = 64 << 10 // bytes embedded in a descriptor
	MaxDepth    = 8        // indexes within indexes
	MaxFanOut   = 10_000   // entries of one manifest or index
	MaxNodes    = 100_000  // descriptors reached from one root
	MaxGraph    = 1 << 30  // bytes of the manifests reached from one root
)
