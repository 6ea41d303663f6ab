// SPDX-License-Identifier: Apache-2.0

package lib;

/** A library in a jar of its own. */
public interface Greeting {
    String greet(String whom);
}
