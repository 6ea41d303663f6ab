// SPDX-License-Identifier: Apache-2.0

// Package attest writes what can be attached to an image that was built: bills
// of materials and provenance.
//
// [Bill] and [Provenance] are attestors: the same subject gives the same
// documents, whatever clock, machine or order of maps.
package attest
