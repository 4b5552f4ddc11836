// What a worker spends on one queue before it turns to the next.

/// How much of a worker one visit to one queue may take, counted in bytes that could be copied
/// in that time.
public enum VisitBudget {
    /// After so much a visit ends though more frames would fit: 64 frames of full size.
    @inlinable static var work: Int { @_noLocks get { 98_304 } }
    /// For each descriptor of a chain.
    @inlinable static var descriptorWork: Int { @_noLocks get { 64 } }
    /// For a chain without a frame, which can be as long as the ring.
    @inlinable static var vainWork: Int { @_noLocks get { 16_384 } }
    /// A frame in one buffer of up to so many bytes is not added up: 64 of them are little work.
    @inlinable static var largeLength: Int { @_noLocks get { 2048 } }
}
