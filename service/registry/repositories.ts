import {
    credentialIn,
    findCredential,
    readDockerConfigFile,
    registryAddress,
} from "../../engine/providers/docker/credentials";
import type { FindCredential } from "./authorization";

/**
 * The credentials of a Docker configuration: the file given (such as a mounted Secret of type
 * `kubernetes.io/dockerconfigjson`), else the user's own. It is read anew for each repository, so that a credential that is
 * changed is the next one used.
 */
export function dockerCredentials(file: string, environment: NodeJS.ProcessEnv = process.env): FindCredential {
    return async (registry) => {
        const address = registryAddress(registry);
        return file === ""
            ? findCredential(address, environment)
            : credentialIn(readDockerConfigFile(file), address, environment);
    };
}
