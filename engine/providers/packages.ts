import { commandPackage } from "./command";
import { dockerPackage } from "./docker";
import { kubernetesPackage } from "./kubernetes";
import type { ProviderPackage } from "./provider";

/** The packages that the engine has. */
export const providerPackages: ReadonlyMap<string, ProviderPackage> = new Map([
    ["command", commandPackage],
    ["docker", dockerPackage],
    ["kubernetes", kubernetesPackage],
]);
