import * as authorization from "@pulumi/azure-native/authorization";
import * as pulumi from "@pulumi/pulumi";

import { uuidOf } from "./uuid";

export interface AzureLaunchAccessArgs {
    /** Object ids of groups of Entra. */
    readonly groups: readonly string[];
    /** `<account>/<container>`. */
    readonly storeName: string;
    readonly containerId: pulumi.Input<string>;
}

/** `Storage Blob Data Reader` (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage). */
const blobDataReader = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1";

/** Lets those who launch builds read what they leave in the container: log, artifacts, manifest. */
export class AzureLaunchAccess extends pulumi.ComponentResource {
    public constructor(name: string, args: AzureLaunchAccessArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:azure:LaunchAccess", name, {}, opts);
        const containerId = pulumi.output(args.containerId);
        const subscriptionId = containerId.apply((id) => id.split("/").slice(0, 3).join("/"));
        for (const group of args.groups) {
            new authorization.RoleAssignment(
                `${name}-${group}`,
                {
                    roleAssignmentName: uuidOf(`reader ${args.storeName} ${group}`),
                    scope: containerId,
                    roleDefinitionId: pulumi.interpolate`${subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${blobDataReader}`,
                    principalId: group,
                    principalType: authorization.PrincipalType.Group,
                },
                { parent: this },
            );
        }
        this.registerOutputs({});
    }
}
