# fish completion for e4kit

function __e4kit_complete
    set -l typed (commandline -opc) (commandline -ct)
    set -l program $typed[1]
    set -e typed[1]
    set -l word (commandline -ct)
    for line in ($program __complete -- $typed 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path $word
            case ':*'
            case '*'
                echo $line
        end
    end
end

complete -c e4kit -f -a '(__e4kit_complete)'
