// One description of everything that can be said to the engine. The checks, the introspection
// that QMP clients ask for and the help texts all come from it, so they cannot disagree.

/// The commands, events and types of a control protocol.
public struct Schema: Sendable {
    /// A use of a type.
    public indirect enum TypeReference: Sendable, Hashable {
        /// A string.
        case string
        /// A 64-bit signed integer.
        case integer
        /// Any number.
        case number
        /// `true` or `false`.
        case boolean
        /// An array of one type.
        case array(of: TypeReference)
        /// An object or enumeration of the schema.
        case named(String)
    }

    /// A member of an object.
    public struct Member: Sendable, Hashable {
        /// The member's name.
        public let name: String
        /// The type of its value.
        public let type: TypeReference
        /// Whether it may be left out.
        public let isOptional: Bool
        /// What it means, in one sentence.
        public let summary: String

        /// A member that must be there.
        public static func required(
            _ name: String,
            _ type: TypeReference,
            _ summary: String = ""
        ) -> Member {
            Member(name: name, type: type, isOptional: false, summary: summary)
        }

        /// A member that may be left out.
        public static func optional(
            _ name: String,
            _ type: TypeReference,
            _ summary: String = ""
        ) -> Member {
            Member(name: name, type: type, isOptional: true, summary: summary)
        }
    }

    /// An object, possibly with members that depend on one of them (a QAPI flat union).
    public struct ObjectType: Sendable, Hashable {
        /// The type's name.
        public let name: String
        /// The members that are always there.
        public let members: [Member]
        /// The member that selects the variant.
        public let tag: String?
        /// Object types by the value of the tag; their members are added.
        public let variants: [Variant]

        /// Makes an object type.
        public init(
            _ name: String,
            _ members: [Member],
            tag: String? = nil,
            variants: [Variant] = []
        ) {
            self.name = name
            self.members = members
            self.tag = tag
            self.variants = variants
        }
    }

    /// The members that one value of a tag adds.
    public struct Variant: Sendable, Hashable {
        /// The value of the tag.
        public let value: String
        /// The name of the object type that has the members.
        public let type: String
    }

    /// A closed set of strings.
    public struct Enumeration: Sendable, Hashable {
        /// The type's name.
        public let name: String
        /// The strings.
        public let values: [String]
    }

    /// A command.
    public struct Command: Sendable, Hashable {
        /// The command's name.
        public let name: String
        /// What it does, in one sentence.
        public let summary: String
        /// The name of the object type of its arguments; nil when it takes none.
        public let arguments: String?
        /// The type of what it returns; nil for an empty object.
        public let returns: TypeReference?
    }

    /// An event.
    public struct Event: Sendable, Hashable {
        /// The event's name.
        public let name: String
        /// When it is sent.
        public let summary: String
        /// The name of the object type of its data.
        public let data: String
    }

    /// The commands, in the order of documentation.
    public let commands: [Command]
    /// The events.
    public let events: [Event]
    /// The object types by name.
    public let objects: [String: ObjectType]
    /// The enumerations by name.
    public let enumerations: [String: Enumeration]

    /// Makes a schema.
    public init(
        commands: [Command],
        events: [Event],
        objects: [ObjectType],
        enumerations: [Enumeration]
    ) {
        self.commands = commands
        self.events = events
        self.objects = Dictionary(objects.map { ($0.name, $0) }) { first, _ in first }
        self.enumerations = Dictionary(enumerations.map { ($0.name, $0) }) { first, _ in first }
    }

    /// The command called `name`.
    public func command(_ name: String) -> Command? { commands.first { $0.name == name } }

    /// All members that an object of `type` may have when its tag has the value `tag`.
    public func members(of type: String, tag value: String?) -> [Member] {
        guard let object = objects[type] else { return [] }
        let variant = object.variants.first { $0.value == value }
        return object.members + (variant.map { members(of: $0.type, tag: nil) } ?? [])
    }

    /// The values that the tag of the union `type` may have.
    public func tagValues(of type: String) -> [String] {
        objects[type]?.variants.map(\.value) ?? []
    }
}
