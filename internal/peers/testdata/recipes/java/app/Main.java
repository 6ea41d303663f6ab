// SPDX-License-Identifier: Apache-2.0

package app;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ServiceLoader;

import lib.Greeting;

/** Says what it finds: a resource, a library, a service, its arguments and a property. */
public class Main implements Greeting {
    @Override
    public String greet(String whom) {
        return "hello " + whom;
    }

    public static void main(String[] args) throws IOException {
        String whom;
        try (var in = Main.class.getResourceAsStream("/whom.txt")) {
            whom = new String(in.readAllBytes(), StandardCharsets.UTF_8).trim();
        }
        for (Greeting g : ServiceLoader.load(Greeting.class)) {
            System.out.println(g.greet(whom) + " " + args.length + " " + System.getProperty("flag"));
        }
    }
}
