// Columns for people. Scripts have --json.

/// A table that is printed when all its rows are known.
struct TextTable {
    enum Alignment { case left, right }

    private let columns: [(title: String, alignment: Alignment)]
    private var rows: [[String]] = []

    init(_ columns: [(String, Alignment)]) {
        self.columns = columns.map { (title: $0.0, alignment: $0.1) }
    }

    mutating func add(_ cells: [String]) { rows.append(cells) }

    /// The table; the last column is not padded, so that lines have no blanks at their end.
    func text(emphasis: Bool = Terminal.mayEmphasise) -> String {
        let titles = columns.map(\.title)
        let widths = columns.indices.map { column in
            ([titles] + rows).map { $0[column].count }.max() ?? 0
        }
        let lines = ([titles] + rows).enumerated().map { number, cells in
            let padded = cells.indices.map { column -> String in
                let blanks = String(repeating: " ", count: widths[column] - cells[column].count)
                switch columns[column].alignment {
                case .right: return blanks + cells[column]
                case .left where column == cells.count - 1: return cells[column]
                case .left: return cells[column] + blanks
                }
            }
            let line = padded.joined(separator: "  ")
            return number == 0 && emphasis ? "\u{1b}[1m\(line)\u{1b}[0m" : line
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
