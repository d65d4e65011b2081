//! Roles within a workspace, and who acts.

/// What a person is in their workspace. The order is the order of rights: the highest of several wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides for themselves only.
    User,
    /// Changes settings, and helps users.
    Admin,
    /// The same, and helps admins and other super admins.
    SuperAdmin,
    /// The same, and helps owners.
    Owner,
}

impl Role {
    /// All, from the least.
    pub const ALL: [Self; 4] = [Self::User, Self::Admin, Self::SuperAdmin, Self::Owner];

    /// The name in claims, the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::SuperAdmin => "super_admin",
            Self::Owner => "owner",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::SuperAdmin => "super admin",
            Self::Owner => "owner",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// By which right somebody acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorRole {
    /// A role in the workspace.
    Of(Role),
    /// Who runs Watchbell, across workspaces.
    Operator,
    /// Whoever runs the sign-in, by a record of theirs.
    Upstream,
}

impl ActorRole {
    /// The name in the API, the store and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Of(role) => role.name(),
            Self::Operator => "operator",
            Self::Upstream => "upstream",
        }
    }

    /// The right of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let others = [Self::Operator, Self::Upstream];
        let other = others.into_iter().find(|other| other.name() == name);
        other.or_else(|| Role::from_name(name).map(Self::Of))
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The person's id, or the operator's; of upstream that of the record by which it acted.
    pub id: crate::event::UserId,
    /// By which right.
    pub role: ActorRole,
}

impl Actor {
    /// By which right somebody else acts; `None` if that person does it themselves, with their own sign-in.
    pub fn another_than(&self, user: &crate::event::UserId) -> Option<ActorRole> {
        (self.id != *user || self.role == ActorRole::Operator).then_some(self.role)
    }
}
