// SPDX-License-Identifier: Apache-2.0

// Package attest writes what can be attached to an image that was built: bills
// of materials and provenance.
package attest
