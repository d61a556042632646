import * as authorization from "@pulumi/azure-native/authorization";
import * as managedidentity from "@pulumi/azure-native/managedidentity";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { commonLabels } from "../labels";
import { uuidOf } from "./uuid";

export interface AzureBuildIdentityArgs {
    /** The namespace of the builds. */
    readonly namespace: pulumi.Input<string>;
    /** The same, as it is configured: what a federated credential is for must be known before anything is made. */
    readonly namespaceName: string;
    /** The client id of an identity that is there already, federated and with its role; empty to make one. */
    readonly clientId: string;
    readonly resourceGroup: string;
    readonly location: string;
    /** The cluster's OIDC issuer, letter by letter as in its tokens. Not used where `clientId` is given. */
    readonly oidcIssuer: string;
    /** `<account>/<container>`: what the role is named after. */
    readonly storeName: string;
    /** The Azure resource id of the one container that the identity may write to. */
    readonly containerId: pulumi.Input<string>;
}

/** The one service account that may be the identity. */
const serviceAccountName = "ke1-build";

/**
 * What a build's exporter does with blobs, and no more: it cannot delete, list other containers, or reach keys
 * (https://learn.microsoft.com/azure/role-based-access-control/permissions/storage#microsoftstorage).
 */
const blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
const dataActions = [`${blobs}/read`, `${blobs}/write`, `${blobs}/add/action`];

/**
 * Who a build is on Azure: a service account of the cluster that is federated with a managed identity, which has a role of
 * its own on the one container. There is no secret: the exporter's token is made by the cluster, lasts an hour, and is
 * exchanged with Entra for one for the store.
 *
 * Ready when the role is assigned: `serviceAccount` is known only then.
 */
export class AzureBuildIdentity extends pulumi.ComponentResource {
    public readonly serviceAccount: pulumi.Output<string>;
    /** The identity's client id. */
    public readonly clientId: pulumi.Output<string>;

    public constructor(name: string, args: AzureBuildIdentityArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:azure:BuildIdentity", name, {}, opts);
        const child = { parent: this };

        const made = args.clientId === "" ? declareIdentity(name, args, child) : undefined;
        this.clientId = made ? made.clientId : pulumi.output(args.clientId);

        const serviceAccount = new k8s.core.v1.ServiceAccount(
            `${name}-service-account`,
            {
                metadata: {
                    namespace: args.namespace,
                    name: serviceAccountName,
                    labels: commonLabels,
                    // https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html
                    annotations: { "azure.workload.identity/client-id": this.clientId },
                },
                // The webhook's projected token is another one, for Entra alone.
                automountServiceAccountToken: false,
            },
            child,
        );
        this.serviceAccount = pulumi
            .all([serviceAccount.metadata.name, made ? made.ready : ""])
            .apply(([accountName]) => accountName);

        this.registerOutputs({ serviceAccount: this.serviceAccount, clientId: this.clientId });
    }
}

/** The identity, its federation and its role; `ready` is known when all of it is there. */
function declareIdentity(name: string, args: AzureBuildIdentityArgs, opts: pulumi.CustomResourceOptions) {
    const what = `${args.storeName} ${args.namespaceName}`;
    const identity = new managedidentity.UserAssignedIdentity(
        `${name}-identity`,
        {
            resourceGroupName: args.resourceGroup,
            resourceName: `ke1-build-${args.namespaceName}`,
            location: args.location,
        },
        opts,
    );
    const federation = new managedidentity.FederatedIdentityCredential(
        `${name}-federation`,
        {
            resourceGroupName: args.resourceGroup,
            resourceName: identity.name,
            federatedIdentityCredentialResourceName: "ke1-build",
            issuer: args.oidcIssuer,
            subject: `system:serviceaccount:${args.namespaceName}:${serviceAccountName}`,
            audiences: ["api://AzureADTokenExchange"],
        },
        opts,
    );
    const containerId = pulumi.output(args.containerId);
    // A role can be offered no narrower than in a resource group; it is assigned on the container alone.
    const resourceGroupId = containerId.apply((id) => id.split("/").slice(0, 5).join("/"));
    const role = new authorization.RoleDefinition(
        `${name}-role`,
        {
            roleDefinitionId: uuidOf(`role ${what}`),
            roleName: `KE-1 build writer (${what})`,
            description: "Reads, writes and appends to blobs of the container it is assigned on. No delete, no keys.",
            roleType: "CustomRole",
            scope: resourceGroupId,
            assignableScopes: [resourceGroupId],
            permissions: [{ actions: [], notActions: [], dataActions, notDataActions: [] }],
        },
        opts,
    );
    const assignment = new authorization.RoleAssignment(
        `${name}-assignment`,
        {
            roleAssignmentName: uuidOf(`assignment ${what}`),
            scope: containerId,
            roleDefinitionId: role.id,
            principalId: identity.principalId,
            principalType: authorization.PrincipalType.ServicePrincipal,
        },
        opts,
    );
    return { clientId: identity.clientId, ready: pulumi.all([federation.id, assignment.id]).apply(() => "") };
}
